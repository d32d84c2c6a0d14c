package apns_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/apns"
	"github.com/edition-push/edition/kickdrivers/apns/apnssim"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/kicktest"
	"github.com/edition-push/edition/kickdrivers/simtls"
)

var from = netip.MustParseAddr("192.0.2.1")

// isOnly reports whether err is of one kind and of no other that says
// something to the dispatcher.
func isOnly(err, want error) bool {
	for _, kind := range []error{edition.ErrGone, edition.ErrForbidden, edition.ErrTooMany, edition.ErrUnavailable} {
		if errors.Is(err, kind) != errors.Is(want, kind) {
			return false
		}
	}
	return err != nil
}

func none(t *testing.T, errs []error) {
	t.Helper()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("kick %d: %v", i, err)
		}
	}
}

func devices(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = device(i)
	}
	return all
}

// TestBoundedPool sends far more at once than the other end takes, at a limit
// that makes every other client open more connections.
func TestBoundedPool(t *testing.T) {
	p := start(t, apnssim.Options{Streams: 4})
	c := p.config()
	c.Connections, c.ParallelRequests = 3, 200
	d := open(t, c)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := errors.Join(kick(t, d, devices(200)...)...); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if total, most := p.Connections(); most > 3 || total > 3 {
		t.Errorf("%d connections, %d at once; want at most 3", total, most)
	}
	if got := len(p.all()); got != 800 {
		t.Errorf("%d pushes arrived, want 800", got)
	}
}

// TestSlots counts how many requests are under way at once.
func TestSlots(t *testing.T) {
	var now, most atomic.Int32
	p := start(t, apnssim.Options{Answer: func(apnssim.Kick) apnssim.Answer {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(time.Millisecond)
		now.Add(-1)
		return apnssim.Answer{}
	}})
	c := p.config()
	c.ParallelRequests = 5
	none(t, kick(t, open(t, c), devices(60)...))
	if most.Load() > 5 {
		t.Errorf("%d requests at once, want at most 5", most.Load())
	}
}

// TestGoodbye has the other end take no more requests on a connection, as
// Apple does now and then, amid others: none is lost. It does so twice, for an
// attempt that meets it three times is given up.
func TestGoodbye(t *testing.T) {
	var n atomic.Int32
	p := start(t, apnssim.Options{Answer: func(apnssim.Kick) apnssim.Answer {
		n := n.Add(1)
		return apnssim.Answer{Goodbye: n == 50 || n == 150}
	}})
	c := p.config()
	c.Connections, c.ParallelRequests = 1, 10
	none(t, kick(t, open(t, c), devices(250)...))
	if total, _ := p.Connections(); total != 3 || len(p.all()) != 250 {
		t.Errorf("%d connections, %d pushes; want 3, 250", total, len(p.all()))
	}
}

// TestLostConnection cuts a connection under the requests on it, once: they go
// over another one.
func TestLostConnection(t *testing.T) {
	var n atomic.Int32
	p := start(t, apnssim.Options{Answer: func(apnssim.Kick) apnssim.Answer {
		return apnssim.Answer{Drop: n.Add(1) == 20}
	}})
	c := p.config()
	c.Connections, c.ParallelRequests = 1, 10
	none(t, kick(t, open(t, c), devices(60)...))
	if total, _ := p.Connections(); total != 2 {
		t.Errorf("%d connections, want 2", total)
	}
}

// TestLostAlways is told, and not tried for ever.
func TestLostAlways(t *testing.T) {
	var n atomic.Int32
	p := start(t, apnssim.Options{Answer: func(apnssim.Kick) apnssim.Answer {
		n.Add(1)
		return apnssim.Answer{Drop: true}
	}})
	if err := kick(t, open(t, p.config()), device(1))[0]; !isOnly(err, edition.ErrUnavailable) || n.Load() != 3 {
		t.Errorf("after %d requests: %v", n.Load(), err)
	}
}

// TestRestart finds the other end again after it was away.
func TestRestart(t *testing.T) {
	p := start(t, apnssim.Options{})
	door := kicktest.NewDoor(t)
	door.Lead(p.Addr())
	c := p.config()
	c.Host = "https://" + door.Addr()
	d := open(t, c)
	none(t, kick(t, d, devices(10)...))
	door.Lead("")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := kick(t, d, device(1))[0]; !isOnly(err, edition.ErrUnavailable) {
		t.Errorf("while it is away: %v", err)
	}
	// The new one has other keys: the driver must get as far as being told.
	again := start(t, apnssim.Options{})
	door.Lead(again.Addr())
	if err := kick(t, d, device(1))[0]; !isOnly(err, edition.ErrUnavailable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("another end with a certificate of somebody else: %v", err)
	}
	c = again.config()
	c.Host = "https://" + door.Addr()
	none(t, kick(t, open(t, c), devices(10)...))
}

// TestNoAnswer is the provider's fault, unless the caller has no more time.
func TestNoAnswer(t *testing.T) {
	p := start(t, apnssim.Options{Answer: func(apnssim.Kick) apnssim.Answer { return apnssim.Answer{Hang: true} }})
	c := p.config()
	c.Timeout = 100 * time.Millisecond
	d := open(t, c)
	if err := kick(t, d, device(1))[0]; !isOnly(err, edition.ErrUnavailable) {
		t.Errorf("no answer: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the caller ends")
	cancel(why)
	target, err := d.Check(targetOf(device(1)), from, 500)
	if err != nil {
		t.Fatal(err)
	}
	errs := make([]error, 1)
	if d.Kick(ctx, []driver.Kick{{Target: target}}, errs); !errors.Is(errs[0], why) || errors.Is(errs[0], edition.ErrUnavailable) {
		t.Errorf("the caller has no more time: %v", errs[0])
	}
}

// TestExpiredToken has the other end refuse the provider's token: a new one is
// made once for all, and no second one soon.
func TestExpiredToken(t *testing.T) {
	p := start(t, apnssim.Options{})
	d := open(t, p.config())
	none(t, kick(t, d, devices(10)...))
	p.ExpireTokens()
	none(t, kick(t, d, devices(100)...))
	p.ExpireTokens()
	if err := kick(t, d, device(1))[0]; !isOnly(err, edition.ErrUnavailable) || !strings.Contains(err.Error(), "ExpiredProviderToken") {
		t.Errorf("refused twice within 20 minutes: %v", err)
	}
}

// TestWrongProof is refused by the other end, and no target's fault.
func TestWrongProof(t *testing.T) {
	p, other := start(t, apnssim.Options{}), start(t, apnssim.Options{})
	for name, change := range map[string]func(*apns.Config){
		"another key":         func(c *apns.Config) { c.TokenKey.File = other.file(apnssim.KeyFile) },
		"another key id":      func(c *apns.Config) { c.KeyID = "AAAAAAAAAA" },
		"another team":        func(c *apns.Config) { c.TeamID = "AAAAAAAAAA" },
		"another certificate": func(c *apns.Config) { byCertificate(other, c) },
		"another authority":   func(c *apns.Config) { c.TLS.CAFile = other.file(simtls.CAFile) },
	} {
		c := p.config()
		change(&c)
		if err := kick(t, open(t, c), device(1))[0]; !isOnly(err, edition.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(p.all()) > 0 {
		t.Error("a push with a wrong proof was accepted")
	}
}
