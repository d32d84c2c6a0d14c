// Package storetest is the contract of edition.Store as tests: what a store
// must do, whatever it is made of.
//
// A store that passes Run keeps events as the callers of this module rely on;
// one that passes Random does the same as store/mem in every sequence of calls
// that was tried, across restarts too. The package does not test what a disk
// can do to a store: each store does that for itself.
package storetest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/edition-push/edition"
)

// Run tests a store. open returns an empty one, which commits without further
// ado and is closed by the test's Cleanup.
func Run(t *testing.T, open func(t *testing.T) edition.Store) {
	for _, group := range []map[string]func(*fixture){deliverTests, ackTests, deviceTests, routeTests, scanTests, bodyTests, custodyTests, withdrawTests, lastTests, raceTests} {
		for name, test := range group {
			t.Run(name, func(t *testing.T) { test(&fixture{T: t, s: open(t), proof: edition.Proof{1}}) })
		}
	}
}

// fixture is a store under test, with words for what the tests say often.
type fixture struct {
	*testing.T
	s     edition.Store
	proof edition.Proof
}

// patience bounds waits that do not end only when a store is broken.
const patience = 5 * time.Minute

func (f *fixture) ctx() context.Context {
	ctx, cancel := context.WithTimeout(f.Context(), patience)
	f.Cleanup(cancel)
	return ctx
}

func (f *fixture) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// app registers a new app on a new device.
func (f *fixture) app(owner edition.Owner, upstream string) edition.Key {
	f.Helper()
	k := edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}
	f.ok(f.s.Register(f.ctx(), edition.Registration{Key: k, Proof: f.proof, Owner: owner, Upstream: upstream}))
	return k
}

// register registers the apps that an update names, many at once.
func (f *fixture) register(u edition.Update, owner edition.Owner, upstream string) {
	f.Helper()
	ctx := f.ctx()
	var wg sync.WaitGroup
	for _, e := range u {
		wg.Go(func() {
			if err := f.s.Register(ctx, edition.Registration{Key: e.Key, Proof: f.proof, Owner: owner, Upstream: upstream}); err != nil {
				f.Error(err)
			}
		})
	}
	wg.Wait()
}

// another registers a further app on a device.
func (f *fixture) another(k edition.Key, owner edition.Owner, upstream string) edition.Key {
	f.Helper()
	k.AppID = edition.NewAppID()
	f.ok(f.s.Register(f.ctx(), edition.Registration{Key: k, Proof: f.proof, Owner: owner, Upstream: upstream}))
	return k
}

func (f *fixture) relay(name, id string) edition.Owner {
	f.Helper()
	owner, err := f.s.Relay(f.ctx(), name, id)
	f.ok(err)
	return owner
}

// result waits for the only result of a receipt.
func (f *fixture) result(r *edition.Receipt) edition.Result {
	f.Helper()
	rs, err := r.Wait(f.ctx())
	f.ok(err)
	if len(rs) != 1 {
		f.Fatalf("%d results", len(rs))
	}
	return rs[0]
}

// put delivers one version and waits for its result.
func (f *fixture) put(k edition.Key, v edition.Version) edition.Result {
	f.Helper()
	return f.result(f.s.Deliver(one(k, v), edition.Delivery{}))
}

func (f *fixture) wantResult(got, want edition.Result) {
	f.Helper()
	if got != want {
		f.Fatalf("result %+v, want %+v", got, want)
	}
}

// pending checks what waits for a device.
func (f *fixture) pending(owner edition.Owner, u edition.UAID, want ...edition.Event) {
	f.Helper()
	got, err := f.s.Pending(nil, owner, u)
	f.ok(err)
	if !slices.Equal(got, edition.Update(want).Normalize()) {
		f.Fatalf("pending at %d: %v, want %v", owner, got, want)
	}
}

// unhurried tries again, with greater versions, what shows only when no commit
// comes before it: grace is leave to commit late, and a store may commit
// earlier for reasons of its own. try reports whether it has shown.
func (f *fixture) unhurried(try func(v edition.Version) (shown bool)) {
	f.Helper()
	end := time.Now().Add(patience)
	for v := edition.Version(10); !try(v); v += 10 {
		if time.Now().After(end) {
			f.Fatal("every commit came at once")
		}
	}
}

func (f *fixture) send(owner edition.Owner, k edition.Key, v edition.Version) {
	f.Helper()
	f.ok(f.s.Sent(owner, one(k, v)))
}

// ack acknowledges one version and checks what that did.
func (f *fixture) ack(owner edition.Owner, k edition.Key, v edition.Version, state edition.AckState, want edition.AckCount) {
	f.Helper()
	got, err := f.s.Ack(owner, one(k, v), state)
	f.ok(err)
	if got != want {
		f.Fatalf("ack of %d: %+v, want %+v", v, got, want)
	}
}

// state checks what GET on the endpoint would show.
func (f *fixture) state(k edition.Key, state string, v edition.Version) {
	f.Helper()
	got, err := f.s.State(k)
	f.ok(err)
	if got.State != state || got.Version != v {
		f.Fatalf("state %+v, want %s %d", got, state, v)
	}
	if got.Since.IsZero() {
		f.Fatalf("state %+v has no time", got)
	}
}

// reports checks what an upstream is to be told.
func (f *fixture) reports(upstream string, want ...edition.Event) {
	f.Helper()
	got, err := f.s.Reports(nil, upstream, edition.Key{}, 1000)
	f.ok(err)
	if !slices.Equal(got, edition.Update(want).Normalize()) {
		f.Fatalf("reports %v, want %v", got, want)
	}
}

// scan reads all that waits for an owner, in chunks.
func scan(s edition.Store, owner edition.Owner, limit int) (all edition.Update, err error) {
	after := edition.Key{}
	for more := true; more; {
		n := len(all)
		if all, after, more, err = s.Scan(all, owner, after, limit); err != nil {
			return nil, err
		}
		if len(all)-n > limit {
			return nil, errTooMany
		}
	}
	return all, nil
}

var (
	cleared = edition.AckCount{Cleared: 1}
	late    = edition.AckCount{Late: 1}
	ignored = edition.AckCount{Ignored: 1}
)

func one(k edition.Key, v edition.Version) edition.Update { return edition.Update{event(k, v)} }

func event(k edition.Key, v edition.Version) edition.Event {
	return edition.Event{Key: k, Version: v}
}

func stored(v edition.Version) edition.Result {
	return edition.Result{Outcome: edition.OutcomeStored, Version: v}
}

func superseded(v edition.Version) edition.Result {
	return edition.Result{Outcome: edition.OutcomeStored, Version: v, Superseded: true}
}

func delivered(v edition.Version) edition.Result {
	return edition.Result{Outcome: edition.OutcomeDelivered, Version: v}
}

func isDone(r *edition.Receipt) bool {
	select {
	case <-r.Done():
		return true
	default:
		return false
	}
}
