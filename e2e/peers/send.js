// An app server made of the npm package web-push. It reads what to send from
// stdin, as JSON: {subscription, payload, vapid, options}; no payload is an
// empty push. It writes what it was answered: {status, headers, body}.
"use strict";
const webpush = require("web-push");

let input = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (text) => (input += text));
process.stdin.on("end", async () => {
  const { subscription, payload, vapid, options } = JSON.parse(input);
  if (vapid) {
    webpush.setVapidDetails(vapid.subject, vapid.publicKey, vapid.privateKey);
  }
  const answer = await webpush
    .sendNotification(subscription, payload, options)
    .catch((err) => {
      if (!err.statusCode) {
        throw err;
      }
      return err;
    });
  console.log(JSON.stringify({ status: answer.statusCode, headers: answer.headers, body: answer.body }));
});
