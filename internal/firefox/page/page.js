// What a page does that wants push. Each function is called by a program that
// drives the browser, as if after a click.
"use strict";

async function subscribe(applicationServerKey) {
  await navigator.serviceWorker.register("worker.js");
  const worker = await navigator.serviceWorker.ready;
  const options = { userVisibleOnly: true };
  if (applicationServerKey) {
    options.applicationServerKey = applicationServerKey;
  }
  return (await worker.pushManager.subscribe(options)).toJSON();
}

async function subscription() {
  const worker = await navigator.serviceWorker.ready;
  return await worker.pushManager.getSubscription();
}

async function unsubscribe() {
  return await (await subscription()).unsubscribe();
}
