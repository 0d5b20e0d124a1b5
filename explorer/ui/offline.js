/* Says over the lower edge of the window that the connection to the server is lost, in place of Streamlit's dialog, under
which no map can be looked at. */

const LOST = "The server does not answer. What is drawn stays, and the page goes on by itself when the server is back.";
const SAYS = {
  PINGING_SERVER: LOST,
  CONNECTING: LOST,
  DISCONNECTED_FOREVER: "The connection to the server has ended. Load the page again: its link restores the view.",
};
const PATIENCE = 1000; // milliseconds; a connection that is back by then was not missed

function watch(app) {
  const line = element("p", { role: "status" });
  document.body.append(line);
  let said = "";
  let timer = null;
  const say = (text) => {
    const { color, backgroundColor, fontFamily } = getComputedStyle(app);
    line.style.cssText = `position: fixed; z-index: 999991; inset: auto 1rem 1rem; width: fit-content; margin: 0 auto;
      border-radius: 6px; font: 1rem/1.4 ${fontFamily}; color: ${backgroundColor}; background: ${color}`;
    line.style.padding = text && ".75rem 1.25rem";
    line.textContent = text;
  };
  const look = () => {
    const text = SAYS[app.dataset.testConnectionState] ?? "";
    if (text !== said) {
      said = text;
      clearTimeout(timer);
      timer = setTimeout(say, text && PATIENCE, text);
    }
    if (!text) return;
    for (const dialog of document.querySelectorAll("[role=dialog]"))
      if (dialog.innerText.includes("Connection error")) dialog.querySelector("[aria-label=Close]")?.click();
  };
  say("");
  const observer = new MutationObserver(look);
  observer.observe(app, { attributeFilter: ["data-test-connection-state"] });
  observer.observe(document.body, { childList: true });
  return () => {
    observer.disconnect();
    clearTimeout(timer);
    line.remove();
  };
}

/* Streamlit may end an earlier call after a later one has begun. */
export default function ({ parentElement }) {
  const call = (parentElement.call = {});
  parentElement.leave ??= watch(document.querySelector("[data-testid=stApp]"));
  return () => {
    if (parentElement.call !== call) return;
    parentElement.leave?.();
    parentElement.leave = null;
  };
}
