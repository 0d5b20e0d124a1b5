/* Each photograph, map, box and look bar is an instance of its own. */

const KINDS = { look: LookBar, photo: Photo, map: MapCell, box: Box };
const instances = new WeakMap();

/* Streamlit calls this again when the data or the theme changes, and may run the clean-up of an outdated call late. */
export default function ({ data, parentElement, setStateValue }) {
  let instance = instances.get(parentElement);
  if (!(instance instanceof KINDS[data.kind])) {
    instance?.destroy();
    instance = new KINDS[data.kind](parentElement);
    instances.set(parentElement, instance);
  }
  const call = (instance.call = {});
  instance.update(data, setStateValue);
  return () => {
    if (instance.call !== call) return;
    instance.destroy();
    instances.delete(parentElement);
  };
}
