// Package client is the Edition Client: it registers apps, takes UPDATEs and
// acknowledges them, over a WebSocket or by polling, through proxies, for as
// long as its context lives.
//
// [Device] is for programs on a device: it remembers who it is in a small state
// file and calls each app with strictly rising versions. [Client] is below it,
// for whoever keeps state elsewhere: a relay, a benchmark.
//
// What it promises: no answer that an upstream did not give in the edition
// protocol is taken for one (redirects, HTML pages and oversized answers are
// errors and are counted), an UPDATE is acknowledged only after its handler
// said so, and a fleet that loses its server does not come back all at once.
// It keeps no UPDATEs: what was not acknowledged is sent again by upstream.
package client
