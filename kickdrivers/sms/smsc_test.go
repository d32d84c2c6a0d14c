package sms_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/kicktest"
	"github.com/edition-push/edition/kickdrivers/simtls"
	"github.com/edition-push/edition/kickdrivers/sms"
	"github.com/edition-push/edition/kickdrivers/sms/smpp"
	"github.com/edition-push/edition/kickdrivers/sms/smppsim"
)

// numbers are n different targets.
func numbers(n int) (all []json.RawMessage) {
	for i := range n {
		all = append(all, number(i))
	}
	return all
}

// TestThrottled: when the SMSC says that there is too much, the rest of the
// batch is not even tried.
func TestThrottled(t *testing.T) {
	var asked atomic.Int32
	_, p, c := smsc(t, smppsim.Options{Answer: func(smppsim.Kick) smppsim.Answer {
		if asked.Add(1) > 5 {
			return smppsim.Answer{Status: smpp.Throttled}
		}
		return smppsim.Answer{}
	}})
	c.SMPP.Window, c.RetryAfter = 2, 30*time.Second
	d := open(t, c, driver.Env{})
	sent, held := 0, 0
	for _, err := range kick(t, d, "", numbers(100)...) {
		retry, ok := errors.AsType[*edition.RetryError](err)
		switch {
		case err == nil:
			sent++
		case errors.Is(err, edition.ErrTooMany) && !errors.Is(err, edition.ErrUnavailable) && ok && retry.After == c.RetryAfter:
			held++
		default:
			t.Errorf("kick: %v", err)
		}
	}
	if sent != 5 || held != 95 || p.count() != 5 {
		t.Errorf("%d sent, %d held back, %d arrived; want 5, 95, 5", sent, held, p.count())
	}
	if n := asked.Load(); n > 7 {
		t.Errorf("%d messages were handed in, though the sixth was throttled and the window is 2", n)
	}
}

// TestWindowIsKept: an SMSC that takes no more than the window throttles
// nobody.
func TestWindowIsKept(t *testing.T) {
	_, p, c := smsc(t, smppsim.Options{Window: 4, Answer: func(smppsim.Kick) smppsim.Answer {
		return smppsim.Answer{Delay: time.Millisecond}
	}})
	c.SMPP.Window = 4
	d := open(t, c, driver.Env{})
	var wg sync.WaitGroup
	for range 4 { // batches at once
		wg.Go(func() {
			for _, err := range kick(t, d, "", numbers(32)...) {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if p.count() != 128 {
		t.Errorf("%d of 128 messages arrived", p.count())
	}
}

// TestRebind: whatever ends a session, the next kick makes a new one.
func TestRebind(t *testing.T) {
	server, p, c := smsc(t, smppsim.Options{Enquire: time.Millisecond, Answer: func(k smppsim.Kick) smppsim.Answer {
		return smppsim.Answer{Hangup: k.To == "+34600109999", State: smpp.StateDelivered}
	}})
	d := open(t, c, driver.Env{})
	for i, end := range []func(){
		func() {}, server.Unbind, server.Drop,
		func() {
			if err := kick(t, d, "", number(9999))[0]; !errors.Is(err, edition.ErrUnavailable) {
				t.Errorf("a connection that ends before the answer: %v", err)
			}
		},
	} {
		end()
		// That the session has ended may not be known yet.
		until(t, "a kick is sent", func() bool { return kick(t, d, "", number(i))[0] == nil })
	}
	if p.count() < 4 {
		t.Errorf("%d messages arrived", p.count())
	}
	until(t, "one session is bound", func() bool { return server.Bound() == 1 })
	d.Close()
	until(t, "the session is unbound", func() bool { return server.Bound() == 0 })
}

// TestNotBound: an SMSC that has forgotten the bind is bound anew.
func TestNotBound(t *testing.T) {
	var forgotten atomic.Bool
	_, _, c := smsc(t, smppsim.Options{Answer: func(smppsim.Kick) smppsim.Answer {
		if forgotten.Swap(false) {
			return smppsim.Answer{Status: smpp.InvBindStatus}
		}
		return smppsim.Answer{}
	}})
	d := open(t, c, driver.Env{})
	forgotten.Store(true)
	if err := kick(t, d, "", number(0))[0]; !errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("not bound: %v", err)
	}
	until(t, "a kick is sent", func() bool { return kick(t, d, "", number(1))[0] == nil })
}

// TestFailover: the second address serves while the first does not, and the
// first again when the second is lost.
func TestFailover(t *testing.T) {
	d1, d2 := kicktest.NewDoor(t), kicktest.NewDoor(t)
	second, p2, c := smsc(t, smppsim.Options{})
	d2.Lead(second.Addr())
	c.SMPP.Addresses = []string{"smpp://" + d1.Addr(), "smpp://" + d2.Addr()}
	d := open(t, c, driver.Env{})
	if err := kick(t, d, "", number(0))[0]; err != nil || p2.count() != 1 {
		t.Fatalf("through the second: %v, %d arrived", err, p2.count())
	}
	d2.Lead("")
	second.Close()
	until(t, "the provider fails", func() bool {
		return errors.Is(kick(t, d, "", number(1))[0], edition.ErrUnavailable)
	})
	first, p1, _ := smsc(t, smppsim.Options{})
	d1.Lead(first.Addr())
	until(t, "a kick is sent", func() bool { return kick(t, d, "", number(2))[0] == nil })
	if p1.count() != 1 {
		t.Errorf("%d arrived through the first", p1.count())
	}
	d.Close()
}

// TestUnbindable: what keeps from binding is the provider's failure, told
// once for a whole batch, and names no secret.
func TestUnbindable(t *testing.T) {
	for name, change := range map[string]func(*testing.T, *sms.Config){
		"wrong password":  func(t *testing.T, c *sms.Config) { c.SMPP.Password = secret(t, "wrong") },
		"wrong system_id": func(_ *testing.T, c *sms.Config) { c.SMPP.SystemID = "other" },
		"TLS to a server without": func(_ *testing.T, c *sms.Config) {
			c.SMPP.Addresses = []string{"smpps" + c.SMPP.Addresses[0][len("smpp"):]}
			c.SMPP.BindTimeout = time.Second
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, p, c := smsc(t, smppsim.Options{})
			change(t, &c)
			d := open(t, c, driver.Env{})
			for _, err := range kick(t, d, "", numbers(20)...) {
				if !errors.Is(err, edition.ErrUnavailable) {
					t.Errorf("kick: %v", err)
				}
			}
			if p.count() != 0 {
				t.Error("a message arrived")
			}
		})
	}
}

// TestSilentSMSC accepts connections and says nothing.
func TestSilentSMSC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := sms.DefaultConfig()
	c.Prefixes, c.SMPP.SystemID, c.SMPP.Password = []string{"+34"}, "edition", secret(t, "secret")
	c.SMPP.Addresses, c.SMPP.BindTimeout = []string{"smpp://" + l.Addr().String()}, 100*time.Millisecond
	d := open(t, c, driver.Env{})
	if err := kick(t, d, "", number(0))[0]; !errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("kick: %v", err)
	}
	c.SMPP.BindTimeout = time.Minute
	d = open(t, c, driver.Env{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		errs := make([]error, 1)
		d.Kick(ctx, []driver.Kick{{Target: number(0)}}, errs)
		done <- errs[0]
	}()
	cancel()
	select {
	case err := <-done:
		if err == nil {
			t.Error("a kick that was called off is told as sent")
		}
	case <-time.After(wait):
		t.Error("Kick does not end with its context")
	}
	// Close ends the attempt to bind that is under way.
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestOneNumberIsSlow: a message that is never answered fails alone.
func TestOneNumberIsSlow(t *testing.T) {
	_, p, c := smsc(t, smppsim.Options{Answer: func(k smppsim.Kick) smppsim.Answer {
		return smppsim.Answer{Never: k.To == "+34600100003"}
	}})
	c.Timeout = 2 * time.Second // the others are answered at once
	for begun := time.Now(); ; {
		before := p.count()
		d, start := open(t, c, driver.Env{}), time.Now()
		errs := kick(t, d, "", numbers(8)...)
		took, arrived := time.Since(start), p.count()-before
		d.Close()
		var faults []error
		for i, err := range errs {
			switch {
			case i == 3 && (!errors.Is(err, smpp.ErrNoAnswer) || errors.Is(err, edition.ErrUnavailable)):
				faults = append(faults, fmt.Errorf("the slow one: %w", err))
			case i != 3 && err != nil:
				faults = append(faults, fmt.Errorf("kick %d: %w", i, err))
			}
		}
		if arrived != 7 {
			faults = append(faults, fmt.Errorf("%d of 7 messages arrived", arrived))
		}
		if len(faults) == 0 {
			return
		}
		// Where the machine has stood still, the SMSC may have been silent
		// altogether: then again.
		if took < 2*c.Timeout || time.Since(begun) > wait {
			t.Fatal(errors.Join(faults...))
		}
	}
}

func TestTLS(t *testing.T) {
	server, p, c := smsc(t, smppsim.Options{TLS: true})
	d := open(t, c, driver.Env{})
	if err := kick(t, d, "", number(0))[0]; !errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("a server that nobody trusts: %v", err)
	}
	dir := t.TempDir()
	if err := server.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	c.SMPP.Password = driver.Secret{File: filepath.Join(dir, smppsim.PasswordFile)}
	c.SMPP.TLS.CAFile = filepath.Join(dir, simtls.CAFile)
	d = open(t, c, driver.Env{})
	if err := kick(t, d, "", number(0))[0]; err != nil || p.count() != 1 {
		t.Errorf("kick: %v, %d arrived", err, p.count())
	}
}
