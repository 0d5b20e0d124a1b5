/* Presenter mode: the keys of a clicker or a keyboard move from lesson to lesson. */

const MOVES = { PageDown: 1, PageUp: -1, ArrowRight: 1, ArrowLeft: -1 };
const PATIENCE = 2000; // milliseconds
const TEXT = "input:not([type=range], [type=checkbox], [type=radio], [type=button]), textarea, [contenteditable=true]";
const ARROWED = "input[type=range], input[type=radio], select, canvas, [role=slider], [role=radio], [role=tab], [role=option]";

const state = (window[Symbol.for("cam-explorer lessons")] ??= { lesson: 0, wanted: 0, last: 0, send: null });

/* Arrows belong to the control that has the focus; a clicker's page keys move from anywhere but a text. */
function move(event) {
  const by = MOVES[event.key];
  const at = event.composedPath()[0];
  if (!by || !state.send || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (at.matches?.(TEXT) && !at.matches("[role=combobox][aria-expanded=false]")) return;
  if (event.key.startsWith("Arrow") && at.matches?.(ARROWED)) return;
  event.preventDefault();
  event.stopPropagation();
  const next = Math.min(Math.max(state.wanted + by, 1), state.last);
  if (next === state.wanted) return;
  state.wanted = next;
  ask();
}

/* A message that reaches a page in the middle of a rerun can be lost; to ask again for the same lesson does no harm. */
function ask() {
  state.send?.(state.wanted);
  clearTimeout(state.again);
  state.again = setTimeout(() => state.send && state.lesson !== state.wanted && ask(), PATIENCE);
}

export default function ({ data, parentElement, setTriggerValue }) {
  let said = parentElement.querySelector("p");
  if (!said) {
    said = document.createElement("p");
    said.setAttribute("aria-live", "polite");
    said.style.cssText = "position: absolute; width: 1px; height: 1px; margin: 0; overflow: hidden; clip-path: inset(50%)";
    parentElement.append(said);
  }
  said.textContent = data.title;
  if (state.lesson !== data.lesson) {
    state.lesson = state.wanted = data.lesson;
    document.querySelector("[data-testid=stMain]")?.scrollTo({ top: 0 });
  }
  const send = (state.send = (lesson) => setTriggerValue("lesson", lesson));
  state.last = data.last;
  window.removeEventListener("keydown", state.listener, true);
  window.addEventListener("keydown", (state.listener = move), true);
  return () => {
    if (state.send === send) state.send = null;
  };
}
