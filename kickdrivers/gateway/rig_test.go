package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edition-push/edition"
	node "github.com/edition-push/edition/gateway"
	"github.com/edition-push/edition/kickdrivers"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/gateway"
	"github.com/edition-push/edition/wire"
)

const token = "a-token-that-nobody-guesses"

// far is a driver of the other node. What a target says is what becomes of it.
type far struct {
	mu   sync.Mutex
	sent bytes.Buffer
	n    int
}

type farTarget struct {
	ID string `json:"id"`
}

func (f *far) Check(raw json.RawMessage, from netip.Addr, _ int) (json.RawMessage, error) {
	var t farTarget
	if err := json.Unmarshal(raw, &t); err != nil || t.ID == "" || t.ID == "malformed" {
		return nil, fmt.Errorf("%w: no id", edition.ErrMalformed)
	}
	if t.ID == "forbidden" || from != netip.MustParseAddr("10.1.2.3") {
		return nil, fmt.Errorf("%w: not from %s", edition.ErrForbidden, from)
	}
	return json.Marshal(t)
}

func (f *far) Aim(raw json.RawMessage) string { return string(raw) }

func (f *far) Show(k driver.Kick) (string, error) { return string(k.Target), nil }

func (f *far) Kick(ctx context.Context, kicks []driver.Kick, errs []error) {
	for i, k := range kicks {
		var t farTarget
		json.Unmarshal(k.Target, &t)
		switch t.ID {
		case "gone":
			errs[i] = edition.ErrGone
		case "refused":
			errs[i] = edition.ErrForbidden
		case "held back":
			errs[i] = edition.RetryAfter(edition.ErrTooMany, 7*time.Second)
		case "provider":
			errs[i] = edition.ErrUnavailable
		case "failed":
			errs[i] = errors.New("no luck")
		case "stuck":
			<-ctx.Done()
			errs[i] = context.Cause(ctx)
		default:
			f.mu.Lock()
			f.n++
			fmt.Fprintf(&f.sent, "%s %s\n", t.ID, k.Confirm)
			f.mu.Unlock()
		}
	}
}

func (f *far) Close() error { return nil }

func (f *far) arrived() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

func (f *far) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent.String()
}

// other starts the other node: a dispatcher with the driver far, and its
// gateway. It stops with the test.
func other(t *testing.T) (*far, *node.Gateway) {
	t.Helper()
	f := new(far)
	policy := kickdrivers.DefaultPolicy()
	policy.Rate, policy.TargetRate, policy.BreakAfter = 0, 0, 0
	d, err := kickdrivers.New(kickdrivers.Options{
		Entries: []kickdrivers.Entry{{
			Name: "far", Driver: "far", Policy: policy,
			Open: func(driver.Env) (driver.Driver, error) { return f, nil },
		}},
		Routes:   func(edition.Holder) (edition.Routes, error) { return nil, nil },
		StillDue: func(edition.Holder) bool { return false },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	rights := node.Rights{Drivers: []string{"far"}}
	return f, node.New(node.Options{
		Kicks: d, Callers: []node.Caller{{Name: "here", Tokens: []string{token}, Rights: rights}}, Upstream: rights,
	})
}

// serve puts a gateway on a socket.
func serve(t *testing.T, g *node.Gateway) (url string) {
	t.Helper()
	s := httptest.NewServer(g)
	t.Cleanup(s.Close)
	return s.URL
}

// through is what a relay does with a request that comes over its connection.
func through(g *node.Gateway) func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
	return func(ctx context.Context, relay string, text json.RawMessage) (json.RawMessage, error) {
		if relay != "inside" {
			return nil, fmt.Errorf("%w: no such relay", edition.ErrUnavailable)
		}
		var req wire.WakeRequest
		if err := json.Unmarshal(text, &req); err != nil {
			return nil, err
		}
		result := g.Wake(ctx, req)
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		return json.Marshal(result)
	}
}

func tokenFile(t *testing.T) driver.Secret {
	t.Helper()
	name := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(name, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return driver.Secret{File: name}
}

func config(t *testing.T, url string) gateway.Config {
	t.Helper()
	c := gateway.DefaultConfig()
	c.URL, c.Token, c.Wait, c.Timeout = url, tokenFile(t), 30*time.Second, 30*time.Second
	return c
}

func open(t *testing.T, c gateway.Config, env driver.Env) *gateway.Driver {
	t.Helper()
	d, err := gateway.New(c, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// kickOnce makes one kick of a route.
func kickOnce(t *testing.T, d *gateway.Driver, route string) error {
	t.Helper()
	target, err := d.Check(json.RawMessage(`{"route":`+route+`}`), netip.MustParseAddr("10.1.2.3"), 200)
	if err != nil {
		t.Fatalf("Check(%s): %v", route, err)
	}
	errs := make([]error, 1)
	d.Kick(t.Context(), []driver.Kick{{Target: target}}, errs)
	return errs[0]
}

func shortened(s string) string { return strings.ReplaceAll(s, "\n", " ") }
