package serve

import (
	"bufio"
	"crypto/tls"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/kickdrivers/simtls"
	"github.com/edition-push/edition/wire"
)

// TestHTTP2 speaks both versions of HTTP at a door with TLS: a browser's event
// streams share one connection, its WebSockets have one each.
func TestHTTP2(t *testing.T) {
	defer leak.None(t)
	dir := t.TempDir()
	writePair(t, dir, "door.test")
	n, store, parts := newNode(t)
	n.cfg.Drain = patience // which one connection does not need
	var err error
	n.certs, err = newCerts(configs.TLS{CertFile: filepath.Join(dir, simtls.CertFile), KeyFile: filepath.Join(dir, simtls.KeyFile)})
	if err != nil {
		t.Fatal(err)
	}
	n.door = n.certs.secure(n.door)
	url := "https://" + n.door.Addr().String()
	secret := edition.NewSecret()
	proof, err := edition.ProofOf(secret)
	if err != nil {
		t.Fatal(err)
	}
	k := edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}
	if err := store.Register(t.Context(), edition.Registration{Key: k, Proof: proof}); err != nil {
		t.Fatal(err)
	}
	stop, ended := serving(t, n, parts)

	insecure := &tls.Config{InsecureSkipVerify: true} // the certificate is not what is tested; net/http changes its one
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: insecure.Clone(), ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+wire.PathEvents, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", string(wire.AppendClaims(nil, []wire.Agent{{UAID: k.UAID, Secret: secret}})))
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Proto != "HTTP/2.0" || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", resp.Proto, resp.Status)
	}
	parts.Hub.Deliver(edition.Update{{Key: k, Version: 7}}, edition.Delivery{})
	hung := time.AfterFunc(patience, func() { resp.Body.Close() })
	defer hung.Stop()
	lines := bufio.NewScanner(resp.Body)
	await := func(what string) {
		t.Helper()
		for !strings.Contains(lines.Text(), what) {
			if !lines.Scan() {
				t.Fatalf("the stream ended: %v", lines.Err())
			}
		}
	}
	await(`"` + k.AppID.String() + `":7`)

	dialer := websocket.Dialer{TLSClientConfig: insecure, Subprotocols: []string{wire.Subprotocol}}
	ws, answer, err := dialer.DialContext(t.Context(), "wss"+strings.TrimPrefix(url, "https")+wire.PathWebSocket, nil)
	if err != nil {
		t.Fatalf("WebSocket: %v %v", answer, err)
	}
	// It takes its leave, and is waited for: the drain spreads over two.
	if err := ws.WriteControl(websocket.CloseMessage, nil, time.Time{}); err != nil {
		t.Error(err)
	}
	ws.ReadMessage()
	ws.Close()

	// POST is the app servers', who are elsewhere for a relay.
	resp2, err := client.Post(url+wire.PathEvents, "application/x-ndjson", strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	resp2.Body.Close()
	if resp2.StatusCode != http.StatusNotFound {
		t.Errorf("POST without app servers: %s", resp2.Status)
	}
	stop()
	await(`"status":503`)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
