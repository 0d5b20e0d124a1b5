/* References as cards with two pictures, what is known of them, and buttons; Python hears of every press. */

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function picture(jpeg, alt) {
  return jpeg ? element("img", { src: `data:image/jpeg;base64,${jpeg}`, alt }) : element("div", { className: "empty" });
}

function card({ id, title, lines, kind, pictures, acts }, press) {
  const buttons = acts.map(({ act, label, pressed, help }) => {
    const button = element("button", { type: "button", textContent: label, title: help });
    button.setAttribute("aria-pressed", pressed);
    button.setAttribute("aria-label", `${label} ${id}`);
    button.addEventListener("click", () => press({ act, id }));
    return button;
  });
  return element("li", { className: kind },
    element("div", { className: "pictures" }, ...pictures.map(({ jpeg, alt }) => picture(jpeg, alt))),
    element("b", { textContent: title }),
    ...lines.map((line) => element("span", { textContent: line })),
    element("div", { className: "acts" }, ...buttons));
}

export default function ({ data, parentElement, setTriggerValue }) {
  const focused = parentElement.getRootNode().activeElement?.getAttribute("aria-label");
  const list = element("ul", {}, ...data.cards.map((one) => card(one, (act) => setTriggerValue("act", act))));
  parentElement.querySelector("ul")?.remove();
  parentElement.append(list);
  if (focused) list.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
}
