// Nodes as cells on canvases, one canvas a group: tiles that say what goes on where there are few,
// dots where there are thousands. Only what changed is drawn again.

import { PHASE, PHASES, show } from './words.js';

/** Sizes, from the one for few nodes to the one for very many, each up to so many nodes. */
const SIZES = [
  { form: 'tile', upTo: 120, width: 158, height: 52, gap: 8 },
  { form: 'chip', upTo: 1_500, width: 52, height: 24, gap: 4 },
  { form: 'dot', upTo: 4_000, width: 12, height: 12, gap: 3 },
  { form: 'dot', upTo: 20_000, width: 9, height: 9, gap: 2 },
  { form: 'speck', upTo: Infinity, width: 6, height: 6, gap: 1 },
];
const CHIP_WIDTH_MAX = 120;
/** Phases in which nothing is wrong: drawn softly, so that the others are seen among many. */
const QUIET = new Set(['Converged', 'Waiting', 'Unknown']);
/** Room round the cells of a canvas for the outline of those at its edge. */
const EDGE = 4;
const FONT = 'ui-sans-serif, system-ui, "Segoe UI", Roboto, Cantarell, "DejaVu Sans", sans-serif';

/** How nodes are drawn: sizes for so many, colours for this theme. */
export class Cells {
  constructor() {
    this.size = SIZES[0];
    this.readColours();
  }

  /** Reads the colours of the theme, as CSS has them. */
  readColours() {
    const probe = document.createElement('i');
    probe.hidden = true;
    document.body.append(probe);
    const read = (name) => {
      probe.style.color = `var(${name})`;
      return getComputedStyle(probe).color;
    };
    this.colours = new Map(PHASES.map(({ name }) => [name, read(`--phase-${name.toLowerCase()}`)]));
    this.softs = new Map([...QUIET].map((name) => [name, [read(`--soft-${name.toLowerCase()}`), read(`--soft-ink-${name.toLowerCase()}`)]]));
    this.inks = new Map(PHASES.map(({ name }) => [name, read(`--ink-${name.toLowerCase()}`)]));
    // Thousands of dots of one colour are a wall, before which others are to be seen.
    this.dots = new Map(this.colours).set('Converged', read('--dot-converged'));
    this.paper = read('--surface');
    this.tile = read('--raised');
    this.line = read('--line');
    this.text = read('--text');
    this.muted = read('--muted');
    this.accent = read('--accent');
    probe.remove();
  }

  /** Chooses the size for so many nodes, of which `longest` is the longest name. */
  choose(count, longest, isNarrow) {
    const size = { ...SIZES.find(({ upTo }) => count <= upTo) };
    if (size.form === 'chip') {
      const context = document.createElement('canvas').getContext('2d');
      context.font = `600 12px ${FONT}`;
      const needed = context.measureText(longest).width + 16;
      size.width = Math.ceil(Math.min(Math.max(size.width, needed), CHIP_WIDTH_MAX));
    }
    if (size.form === 'tile' && isNarrow) size.width = 142;
    this.size = size;
  }

  /** Gives a group's canvas room for all its nodes in so many pixels; tells whether that moved any. */
  lay(group, inner) {
    const { width, height, gap } = this.size;
    const columns = Math.max(1, Math.floor((inner + gap) / (width + gap)));
    // What has words in it takes all the room there is.
    group.cellWidth = width < 20 ? width : Math.min(Math.floor((inner + gap) / columns) - gap, width * 1.5);
    const rows = Math.ceil(group.nodes.length / columns);
    group.columns = columns;
    group.ratio = devicePixelRatio || 1;
    const wide = columns * (group.cellWidth + gap) - gap + 2 * EDGE;
    const tall = rows * (height + gap) - gap + 2 * EDGE;
    const { canvas } = group;
    canvas.width = Math.round(wide * group.ratio);
    canvas.height = Math.round(tall * group.ratio);
    canvas.style.width = `${wide}px`;
    canvas.style.height = `${tall}px`;
    group.context = canvas.getContext('2d', { alpha: false });
    group.context.setTransform(group.ratio, 0, 0, group.ratio, 0, 0);
  }

  /** Where a node of a group is. */
  spot(group, index) {
    const { height, gap } = this.size;
    const width = group.cellWidth;
    const x = EDGE + (index % group.columns) * (width + gap);
    const y = EDGE + Math.floor(index / group.columns) * (height + gap);
    return { x, y, width, height };
  }

  /** Which node of a group is at a point; -1 where none is. */
  at(group, x, y) {
    const { height, gap } = this.size;
    const column = Math.floor((x - EDGE + gap / 2) / (group.cellWidth + gap));
    const row = Math.floor((y - EDGE + gap / 2) / (height + gap));
    if (column < 0 || column >= group.columns || row < 0) return -1;
    const index = row * group.columns + column;
    return index < group.nodes.length ? index : -1;
  }

  /** Draws a whole group. */
  drawAll(group, marks) {
    const { context, canvas } = group;
    context.fillStyle = this.paper;
    context.fillRect(0, 0, canvas.width, canvas.height);
    for (let index = 0; index < group.nodes.length; index += 1) this.#cell(group, index, marks);
  }

  /** Draws one node of a group again, over what was there. */
  draw(group, index, marks) {
    const { x, y, width, height } = this.spot(group, index);
    const edge = Math.min(this.size.gap / 2, 2);
    group.context.fillStyle = this.paper;
    group.context.fillRect(x - edge, y - edge, width + 2 * edge, height + 2 * edge);
    this.#cell(group, index, marks);
  }

  #cell(group, index, marks) {
    const node = group.nodes[index];
    const spot = this.spot(group, index);
    const { context } = group;
    if (this.size.form === 'tile') this.#tile(context, spot, node);
    else if (this.size.form === 'chip') this.#chip(context, spot, node);
    else this.#dot(context, spot, node);
    if (marks.isChosen(node)) this.#outline(context, spot, this.accent, 2);
    if (marks.isCursor(node)) this.#outline(context, spot, this.text, 2);
  }

  #dot(context, { x, y, width, height }, node) {
    context.fillStyle = this.dots.get(node.standing);
    if (node.standing === 'Down' || node.standing === 'Unknown') {
      // Hollow: not only the colour tells that nothing is known.
      const edge = width > 8 ? 2 : 1;
      context.fillRect(x, y, width, height);
      context.fillStyle = this.paper;
      context.fillRect(x + edge, y + edge, width - 2 * edge, height - 2 * edge);
      return;
    }
    context.fillRect(x, y, width, height);
  }

  #chip(context, { x, y, width, height }, node) {
    const colour = this.colours.get(node.standing);
    const [paper, ink] = this.softs.get(node.standing) ?? [colour, this.inks.get(node.standing)];
    context.fillStyle = paper;
    round(context, x, y, width, height, 5);
    context.fill();
    context.fillStyle = colour;
    round(context, x, y, 5, height, [5, 0, 0, 5]);
    context.fill();
    context.fillStyle = ink;
    context.font = `600 12px ${FONT}`;
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    context.fillText(cut(context, node.name, width - 12), x + width / 2 + 2, y + height / 2 + 0.5);
  }

  #tile(context, { x, y, width, height }, node) {
    const colour = this.colours.get(node.standing);
    context.fillStyle = this.tile;
    round(context, x, y, width, height, 8);
    context.fill();
    context.save();
    context.clip();
    context.fillStyle = colour;
    context.fillRect(x, y, 5, height);
    context.restore();
    context.fillStyle = colour;
    context.beginPath();
    context.arc(x + width - 18, y + height / 2, 10, 0, 2 * Math.PI);
    context.fill();
    context.fillStyle = this.inks.get(node.standing);
    context.font = `700 12px ${FONT}`;
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    context.fillText(PHASE[node.standing].glyph, x + width - 18, y + height / 2 + 1);
    context.textAlign = 'left';
    context.textBaseline = 'alphabetic';
    context.fillStyle = this.text;
    context.font = `600 14px ${FONT}`;
    context.fillText(cut(context, node.name, width - 52), x + 15, y + 22);
    context.fillStyle = this.muted;
    context.font = `12px ${FONT}`;
    context.fillText(cut(context, doing(node), width - 52), x + 15, y + 40);
  }

  #outline(context, { x, y, width, height }, colour, thick) {
    const edge = Math.min(this.size.gap / 2, 2) - thick / 2;
    context.strokeStyle = colour;
    context.lineWidth = thick;
    context.strokeRect(x - edge, y - edge, width + 2 * edge, height + 2 * edge);
  }
}

/** What a node is at, in a few words. */
export function doing(node) {
  if (node.standing === 'Down' || node.standing === 'Unknown') return node.standing;
  if (node.standing === 'Frozen') return node.frozen?.by ? `Frozen by ${node.frozen.by}` : 'Frozen';
  if (node.step && node.standing !== 'Converged') return show(node.step);
  return node.standing;
}

function round(context, x, y, width, height, radius) {
  context.beginPath();
  context.roundRect(x, y, width, height, radius);
}

function cut(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  let kept = text;
  while (kept.length > 1 && context.measureText(`${kept}…`).width > room) kept = kept.slice(0, -1);
  return `${kept}…`;
}
