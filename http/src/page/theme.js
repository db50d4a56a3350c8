// The theme: as the reader's system is, or light or dark as was chosen here. It runs before anything
// is drawn, so that a page never flashes in the other one; for that it is no module.
'use strict';
(() => {
  const KEY = 'kraken.theme';
  const ORDER = ['auto', 'light', 'dark'];
  const SHOWN = { auto: '◐ Auto', light: '☀ Light', dark: '☾ Dark' };

  const stored = () => {
    try {
      const held = localStorage.getItem(KEY);
      return ORDER.includes(held) ? held : 'auto';
    } catch {
      return 'auto';
    }
  };

  let chosen = stored();

  const apply = () => {
    document.documentElement.dataset.theme = chosen;
    document.dispatchEvent(new CustomEvent('themechange'));
    const button = document.getElementById('theme');
    if (!button) return;
    button.textContent = SHOWN[chosen];
    button.setAttribute('aria-label', `Theme: ${chosen}. Change it`);
  };

  const next = () => {
    chosen = ORDER[(ORDER.indexOf(chosen) + 1) % ORDER.length];
    try {
      localStorage.setItem(KEY, chosen);
    } catch {
      // Where nothing may be stored the choice holds until the page is closed.
    }
    apply();
  };

  apply();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', apply);
  document.addEventListener('DOMContentLoaded', () => {
    document.getElementById('theme').addEventListener('click', next);
    apply();
  });
})();
