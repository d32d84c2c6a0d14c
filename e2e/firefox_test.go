package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edition-push/edition/internal/firefox"
)

// TestFirefox has an unmodified Firefox as the device: behind a relay, and
// behind a relay of a relay. It runs under `make e2e` alone.
func TestFirefox(t *testing.T) {
	if !mustRun {
		t.Skip("make e2e runs it")
	}
	for hops := 1; hops <= 2; hops++ {
		t.Run(fmt.Sprintf("hops=%d", hops), func(t *testing.T) { storyFirefox(t, hops) })
	}
}

func storyFirefox(t *testing.T, hops int) {
	a := newAuthority(t)
	_, last := secureChain(t, a, hops)
	f := startFirefox(t, last)
	app := newKeyPair(t)
	sub := f.subscribe(app.public)
	to := subscription{Endpoint: sub.Endpoint, Keys: sub.Keys}

	t.Log("with a page open")
	sendByNode(t, a, parcel{to: to, by: app}).expect(t, http.StatusCreated)
	f.expectPushes("")
	sendByNode(t, a, parcel{to: to, by: app, payload: "from npm: grüße"}).expect(t, http.StatusCreated)
	f.expectPushes("from npm: grüße")
	sendByNode(t, a, parcel{to: to, by: app, payload: "in the drafts' coding", encoding: "aesgcm"}).expect(t, http.StatusCreated)
	f.expectPushes("in the drafts' coding")
	sendByGo(t, a, parcel{to: to, by: app, payload: "from Go"}).expect(t, http.StatusCreated)
	f.expectPushes("from Go")

	t.Log("by strangers")
	sendByNode(t, a, parcel{to: to, payload: "unsigned"}).expect(t, http.StatusUnauthorized)
	sendByNode(t, a, parcel{to: to, by: newKeyPair(t), payload: "by another"}).expect(t, http.StatusForbidden)

	t.Log("while the browser is closed")
	f.close()
	sendByNode(t, a, parcel{to: to, by: app, payload: "was closed"}).expect(t, http.StatusCreated)
	sendByNode(t, a, parcel{to: to, by: app, payload: "replaced", topic: "news"}).expect(t, http.StatusCreated)
	sendByGo(t, a, parcel{to: to, by: app, payload: "the latest of a topic", topic: "news"}).expect(t, http.StatusCreated)
	f.start()
	f.expectPushes("was closed", "the latest of a topic")

	t.Log("after the page has unsubscribed")
	if err := f.site.Unsubscribe(f.context(), f.browser); err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		s := sendByGo(t, a, parcel{to: to, by: app, payload: "to nobody"})
		if s.Status == http.StatusGone {
			if s.Headers["cache-control"] != "max-age=86400" {
				t.Errorf("410 with Cache-Control %q", s.Headers["cache-control"])
			}
			break
		}
		if time.Since(start) > patience {
			t.Fatalf("answered %d after unsubscribe, want 410: %s", s.Status, s.Body)
		}
	}
	sendByNode(t, a, parcel{to: to, by: app}).expect(t, http.StatusGone)
	f.close()
}

// secureChain is chain with a server that speaks HTTPS, as app servers want it.
func secureChain(t *testing.T, a *authority, hops int) (server, last *node) {
	t.Helper()
	name := func(i int) string { return fmt.Sprintf("hop%d", i) }
	next := func(i int) []string {
		if i < hops {
			return []string{name(i + 1)}
		}
		return nil
	}
	server = a.secure(newServer(t, next(0)...)).start()
	last = server
	for i := 1; i <= hops; i++ {
		last = newRelay(t, name(i), last, next(i)...).configure(last, fmt.Sprintf("ca_file: %q", a.ca)).start()
	}
	return server, last
}

// browser is a Firefox with a profile of its own, and the website that it is
// subscribed to.
type browser struct {
	*testing.T
	options firefox.Options
	site    *firefox.Site
	browser *firefox.Browser // nil when it is closed

	mu  sync.Mutex // guards out
	out bytes.Buffer
}

func startFirefox(t *testing.T, at *node) *browser {
	t.Helper()
	site, err := firefox.OpenSite(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f := &browser{T: t, site: site}
	f.options = firefox.Options{
		Profile:    filepath.Join(t.TempDir(), "profile"),
		PushServer: strings.Replace(at.url, "http", "ws", 1) + "/",
		Output:     f,
	}
	t.Cleanup(func() {
		if f.browser != nil {
			f.browser.Close()
		}
		site.Close()
		if t.Failed() {
			f.mu.Lock()
			defer f.mu.Unlock()
			t.Logf("output of Firefox:\n%s", tail(f.out.String(), 20_000))
		}
	})
	f.start()
	return f
}

// Write collects what the browser says.
func (f *browser) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.out.Len() > 1<<20 {
		f.out.Reset()
	}
	return f.out.Write(b)
}

// context bounds one step of the browser.
func (f *browser) context() context.Context {
	ctx, cancel := context.WithTimeoutCause(f.T.Context(), patience, errors.New("Firefox did not answer"))
	f.Cleanup(cancel)
	return ctx
}

func (f *browser) start() {
	f.Helper()
	b, err := firefox.Start(f.T.Context(), f.options)
	if errors.Is(err, firefox.ErrNotInstalled) {
		skip(f.T, err.Error())
	}
	if err != nil {
		f.Fatal(err)
	}
	f.browser = b
}

func (f *browser) close() {
	f.Helper()
	if err := f.browser.Close(); err != nil {
		f.Error(err)
	}
	f.browser = nil
}

// subscribe subscribes the website with a VAPID public key.
func (f *browser) subscribe(key string) firefox.Subscription {
	f.Helper()
	sub, err := f.site.Subscribe(f.context(), f.browser, key)
	if err != nil {
		f.Fatal(err)
	}
	return sub
}

// expectPushes waits for these pushes, in any order, and no others; "" is an
// empty one. One that Firefox could not acknowledge before it was closed may
// come again only if Firefox lets it through, which it does not.
func (f *browser) expectPushes(want ...string) {
	f.Helper()
	deadline := time.After(patience)
	for len(want) > 0 {
		select {
		case p := <-f.site.Pushes:
			var text string
			if p.Text != nil {
				text = *p.Text
			}
			i := slices.Index(want, text)
			if p.Lost || i < 0 {
				f.Fatalf("got %+v %q, want %q", p, text, want)
			}
			want = slices.Delete(want, i, i+1)
		case <-deadline:
			f.Fatalf("%q did not come within %v", want, patience)
		}
	}
}

// TestFirefoxDemo plays the demo with Firefox, and looks for what it shows.
func TestFirefoxDemo(t *testing.T) {
	if !mustRun {
		t.Skip("make e2e runs it")
	}
	out, err := exec.CommandContext(t.Context(), binary, "demo", "--once", "--firefox").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"a push without a message", "Hello from the demo.", "This was sent while you were closed.", "Every device got its versions."} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the transcript lacks %q:\n%s", want, out)
		}
	}
}
