// The service worker, which runs when a push comes, whether a page is open or
// not. It tells the website what came.
"use strict";

function tell(what) {
  return fetch("pushed", { method: "POST", body: JSON.stringify(what) });
}

self.addEventListener("push", (event) => {
  event.waitUntil(tell({ text: event.data ? event.data.text() : null }));
});

// The browser has lost the subscription: it was told a new UAID.
self.addEventListener("pushsubscriptionchange", (event) => {
  event.waitUntil(tell({ lost: true }));
});
