// Events as they happen: a stream that is opened again when it breaks, from where it had come to.

/** Waits before the stream is opened again. */
const RETRY_MS = 1_000;

/** Follows events; `onEvents` is given what came within a frame. Returns what ends it. */
export function follow(params, onEvents) {
  let source = null;
  let after = null;
  let again = null;
  let frame = null;
  let gathered = [];
  const seen = new Set();

  const open = () => {
    // A browser holds few connections to a server: a page that nobody sees takes none.
    if (document.hidden) return;
    const asked = new URLSearchParams({ follow: 'true', ...params });
    if (after) asked.set('after', after);
    source = new EventSource(`/v1/events?${asked}`);
    source.onerror = () => {
      shut();
      again = setTimeout(open, RETRY_MS);
    };
    source.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === 'BOOKMARK') return;
      after = event.cursor;
      if (seen.has(event.id)) return;
      seen.add(event.id);
      if (seen.size > 5_000) seen.delete(seen.values().next().value);
      gathered.push(event);
      frame ??= requestAnimationFrame(() => {
        frame = null;
        const all = gathered;
        gathered = [];
        onEvents(all);
      });
    };
  };
  const shut = () => {
    source?.close();
    source = null;
    clearTimeout(again);
  };
  const onSeen = () => {
    if (document.hidden) shut();
    else if (!source) open();
  };
  document.addEventListener('visibilitychange', onSeen);
  open();
  return () => {
    document.removeEventListener('visibilitychange', onSeen);
    cancelAnimationFrame(frame);
    shut();
  };
}
