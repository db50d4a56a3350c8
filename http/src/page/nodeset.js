// Node sets: many names in few characters, `n[1-64,70]`.

/** The set of some names. */
export function fold(names) {
  const plain = [];
  const numbered = new Map();
  for (const name of names) {
    const parts = /^(.*?)(\d{1,15})(\D*)$/.exec(name);
    if (!parts) {
      plain.push(name);
      continue;
    }
    const [, before, digits, after] = parts;
    // What begins with a zero keeps its width, and all of that width go with it.
    const key = JSON.stringify([before, after, digits.length]);
    if (!numbered.has(key)) numbered.set(key, { before, after, width: 0, numbers: [] });
    const set = numbered.get(key);
    if (digits.length > 1 && digits.startsWith('0')) set.width = digits.length;
    set.numbers.push(Number(digits));
  }
  const sets = new Map();
  for (const { before, after, width, numbers } of numbered.values()) {
    const key = JSON.stringify([before, after, width]);
    if (sets.has(key)) sets.get(key).numbers.push(...numbers);
    else sets.set(key, { before, after, width, numbers });
  }
  const texts = [...sets.values()].map(({ before, after, width, numbers }) => {
    const text = ranges(numbers, width);
    return /[-,]/.test(text) ? `${before}[${text}]${after}` : `${before}${text}${after}`;
  });
  return [...plain.sort(), ...texts].join(',');
}

function ranges(numbers, width) {
  numbers.sort((one, other) => one - other);
  const shown = (number) => String(number).padStart(width, '0');
  const found = [];
  for (const number of numbers) {
    const last = found.at(-1);
    if (last && number === last[1]) continue;
    if (last && number === last[1] + 1) last[1] = number;
    else found.push([number, number]);
  }
  return found.map(([from, to]) => (from === to ? shown(from) : `${shown(from)}-${shown(to)}`)).join(',');
}

/** Most names that one set stands for here. */
const NAMES_MAX = 100_000;

/** The names of a set; nothing where it is none. */
export function expand(text) {
  const names = [];
  for (const item of split(text)) {
    const parts = /^([^[\]]*)\[([\d,-]+)\](.*)$/.exec(item);
    if (!parts) {
      if (item === '' || /[[\]]/.test(item)) return null;
      names.push(item);
      continue;
    }
    const [, before, inside, after] = parts;
    for (const range of inside.split(',')) {
      const ends = /^(\d+)(?:-(\d+))?$/.exec(range);
      if (!ends) return null;
      const [from, to] = [Number(ends[1]), Number(ends[2] ?? ends[1])];
      if (to < from || names.length + to - from >= NAMES_MAX) return null;
      for (let number = from; number <= to; number += 1) {
        const rest = expand(`${before}${String(number).padStart(ends[1].length, '0')}${after}`);
        if (!rest || names.length + rest.length > NAMES_MAX) return null;
        names.push(...rest);
      }
    }
  }
  return names;
}

/** The items of a list, at the commas outside of brackets. */
export function split(text) {
  return text.split(/,(?![^[]*\])/).map((item) => item.trim());
}
