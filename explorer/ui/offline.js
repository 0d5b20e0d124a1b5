/* Says below the page that the server does not answer, in place of Streamlit's dialog, under which no map can be looked at. */

const SAYS = {
  PINGING_SERVER: "The server does not answer. What is drawn stays, and the page goes on by itself when the server is back.",
  DISCONNECTED_FOREVER: "The server has ended the connection. Load the page again: its link restores the view.",
};
const PATIENCE = 1000; // milliseconds; a connection that is back by then was not missed

function watch(app) {
  const line = element("p", { role: "status", hidden: true });
  document.body.append(line);
  const look = () => {
    const before = line.hidden;
    line.textContent = SAYS[app.dataset.testConnectionState] ?? "";
    line.hidden = !line.textContent;
    if (line.hidden) return;
    const { color, backgroundColor, fontFamily } = getComputedStyle(app);
    line.style.cssText = `position: fixed; z-index: 999991; inset: auto 1rem 1rem; width: fit-content; margin: 0 auto;
      padding: .75rem 1.25rem; border-radius: 6px; font: 1rem/1.4 ${fontFamily}; color: ${backgroundColor}; background: ${color}`;
    if (before) line.animate({ opacity: [0, 0] }, PATIENCE);
    for (const dialog of document.querySelectorAll("[role=dialog]"))
      if (dialog.innerText.includes("Connection error")) dialog.querySelector("[aria-label=Close]")?.click();
  };
  const observer = new MutationObserver(look);
  observer.observe(app, { attributeFilter: ["data-test-connection-state"] });
  observer.observe(document.body, { childList: true });
  return () => {
    observer.disconnect();
    line.remove();
  };
}

export default function ({ parentElement }) {
  parentElement.leave ??= watch(document.querySelector("[data-testid=stApp]"));
  return () => {
    parentElement.leave?.();
    parentElement.leave = null;
  };
}
