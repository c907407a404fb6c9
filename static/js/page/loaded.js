// Whether Gradio hears events: what is triggered while the page is put together is lost.

let tell;
const loaded = new Promise((resolve) => { tell = resolve; });

/** Do something once events are heard. */
export const onLoaded = (act) => loaded.then(act);

/** Called by Gradio when it hears them. */
export const tellLoaded = () => tell();
