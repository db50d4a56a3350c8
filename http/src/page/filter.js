// What the search field says: words that must all hold. A word is a part of a name, a node set, a
// label (`rack=r1`, `role!=gw`) or a phase.

import { expand, split } from './nodeset.js';
import { PHASES, standing } from './words.js';

/** Whether a node is meant by a text. */
export function filter(text) {
  const words = text.trim().split(/\s+/).filter((word) => word !== '');
  const tests = words.flatMap((word) => (/[=[]/.test(word) ? listed(word) : [plain(word)]));
  return (node) => tests.every((test) => test(node));
}

/** A list: selectors must all hold, of names any. */
function listed(word) {
  const items = split(word.replace(/^@/, ''));
  const selectors = items.filter((item) => item.includes('='));
  const names = items.filter((item) => item !== '' && !item.includes('='));
  const tests = selectors.map(selector);
  if (names.length > 0) {
    const set = new Set(expand(names.join(',')) ?? []);
    tests.push((node) => set.has(node.name));
  }
  return tests;
}

function selector(text) {
  const [, label, not, value] = /^([^!=]*)(!?)=+(.*)$/.exec(text) ?? [null, text, '', ''];
  return (node) => ((node.labels[label] ?? '') === value) !== (not === '!');
}

function plain(word) {
  const small = word.toLowerCase();
  const phase = PHASES.find(({ name }) => name.toLowerCase() === small);
  if (phase) return (node) => standing(node) === phase.name;
  return (node) => node.name.toLowerCase().includes(small)
    || Object.values(node.labels).some((value) => value.toLowerCase() === small);
}
