package relay_test

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/client"
	"github.com/edition-push/edition/relay"
	"github.com/edition-push/edition/wire"
)

// post sends a message of Web Push; headers are pairs.
func post(t *testing.T, endpoint string, data []byte, headers ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("TTL", "600")
	req.Header.Set("Content-Encoding", "aes128gcm")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

// inbox is an app that takes messages, on a device that can be stopped.
type inbox struct {
	endpoint string
	got      chan *edition.Body
	versions chan edition.Version
	stop     func()
}

func openInbox(t *testing.T, cfg client.DeviceConfig, key []byte) *inbox {
	t.Helper()
	in := &inbox{got: make(chan *edition.Body, 1000), versions: make(chan edition.Version, 1000)}
	endpoints := make(chan string, 10)
	d, err := client.OpenDevice(cfg)
	if err != nil {
		t.Fatal(err)
	}
	err = d.Register(client.App{
		Name: "inbox", Key: key, OnEndpoint: func(e string) { endpoints <- e }, OnVersion: func(v edition.Version) { in.versions <- v },
		OnMessage: func(_ edition.Version, b *edition.Body) { in.got <- b },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	in.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("device: %v", err)
		}
	})
	t.Cleanup(in.stop)
	in.endpoint = await(t, endpoints, "an endpoint")
	return in
}

// take returns the data of the next n messages, sorted.
func (in *inbox) take(t *testing.T, n int) (all []string) {
	t.Helper()
	for range n {
		all = append(all, string(await(t, in.got, "a message").Data))
	}
	slices.Sort(all)
	return all
}

// hops makes a server and so many relays behind each other, and returns the
// last one.
func hops(t *testing.T, n int, way relay.Upstream) *node {
	at := newServer(t, northern)
	for range n {
		way.Name, way.URL, way.Token = "up", at.url, "sesame"
		at = newRelay(t, way, northern)
	}
	return at
}

// TestMessages is Web Push at every distance: a body goes through relays as it
// is, while the device is there and while it is away; the app server learns what
// became of it.
func TestMessages(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	for n := range 3 {
		for _, way := range []relay.Upstream{
			{Mode: client.ModeWebSocket, Custody: wire.CustodyDevice},
			{Mode: client.ModeWebSocket, Custody: wire.CustodyRelay},
			{Mode: client.ModePoll, Wait: 20 * time.Second, Custody: wire.CustodyDevice},
			{Mode: client.ModePoll, Interval: 20 * time.Millisecond, Custody: wire.CustodyRelay},
		} {
			if n == 0 && way.Mode != client.ModeWebSocket {
				continue
			}
			for _, mode := range []string{client.ModeWebSocket, client.ModePoll} {
				t.Run(fmt.Sprintf("%d relays, %s %v, custody %s, device %s", n, way.Mode, way.Wait, way.Custody, mode), func(t *testing.T) {
					t.Parallel()
					near := hops(t, n, way)
					testMessages(t, client.DeviceConfig{
						State: filepath.Join(t.TempDir(), "state"), Config: client.Config{URL: near.url, Mode: mode},
					})
				})
			}
		}
	}
}

func testMessages(t *testing.T, cfg client.DeviceConfig) {
	in := openInbox(t, cfg, nil)
	raw := bytes.Repeat([]byte{0, 0xff, '"', '<'}, edition.MaxBody/4)
	resp := post(t, in.endpoint, raw, "Urgency", "high", "Prefer", "respond-async")
	receipt, _, _ := strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
	if resp.StatusCode != http.StatusAccepted || receipt == "" {
		t.Fatalf("POST: %s %v", resp.Status, resp.Header)
	}
	b := await(t, in.got, "the first message")
	if !bytes.Equal(b.Data, raw) || b.Urgency != edition.UrgencyHigh || b.Encoding != "aes128gcm" || b.TTL <= 0 || b.TTL > 600*time.Second {
		t.Errorf("got %d bytes, %s, %q, %v", len(b.Data), b.Urgency, b.Encoding, b.TTL)
	}
	eventually(t, "the receipt", func() bool {
		resp, err := http.Get(receipt)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusNoContent
	})
	if resp := post(t, in.endpoint, nil, "Content-Encoding", ""); resp.StatusCode != http.StatusCreated {
		t.Errorf("POST of nothing: %s", resp.Status)
	}
	if b := await(t, in.got, "a message without data"); len(b.Data) != 0 || b.Encoding != "" {
		t.Errorf("%+v", b)
	}
	// A version beside messages is a version.
	if status := put(t, in.endpoint, 5); status != 200 && status != 202 {
		t.Errorf("PUT: %d", status)
	}
	if v := await(t, in.versions, "version 5"); v != 5 {
		t.Errorf("version %d", v)
	}

	in.stop()
	for i := range 30 {
		text := fmt.Appendf(nil, "message %02d", i)
		if resp := post(t, in.endpoint, text); resp.StatusCode != http.StatusCreated {
			t.Fatalf("POST while away: %s", resp.Status)
		}
		if resp := post(t, in.endpoint, text, "Topic", "news"); resp.StatusCode != http.StatusCreated {
			t.Fatalf("POST while away: %s", resp.Status)
		}
	}
	in = openInbox(t, cfg, nil)
	got := map[string]int{"": -1} // may come again: whether its ack arrived is not known
	var want []string
	for i := range 30 {
		want = append(want, fmt.Sprintf("message %02d", i))
	}
	for len(got) < 31 || got["message 29"] < 2 { // topics that were on their way down may be there too
		got[in.take(t, 1)[0]]++
	}
	for _, text := range want {
		if got[text] == 0 {
			t.Errorf("%s was lost", text)
		}
	}
	if delete(got, ""); len(got) != len(want) {
		t.Errorf("got %v", got)
	}
}

// TestKeysGoUp: an endpoint that was registered with a key behind two relays is
// restricted to it at the server.
func TestKeysGoUp(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	private, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	near := hops(t, 2, relay.Upstream{})
	cfg := client.DeviceConfig{State: filepath.Join(t.TempDir(), "state"), Config: client.Config{URL: near.url}}
	open := openInbox(t, cfg, nil)
	if resp := post(t, open.endpoint, []byte("x")); resp.StatusCode != http.StatusCreated {
		t.Errorf("POST to anybody's endpoint: %s", resp.Status)
	}
	open.take(t, 1)
	open.stop()
	closed := openInbox(t, cfg, private.PublicKey().Bytes())
	if closed.endpoint == open.endpoint {
		t.Error("the same endpoint for a key")
	}
	if resp := post(t, closed.endpoint, []byte("x")); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("POST without the key: %s", resp.Status)
	}
	closed.stop()

	// What is no key is refused above, and the device is told.
	cfg.State = filepath.Join(t.TempDir(), "state")
	d, err := client.OpenDevice(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Register(client.App{Name: "app", Key: make([]byte, 65)}); err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "P-256") {
		t.Errorf("a point that is not on the curve: %v", err)
	}
}
