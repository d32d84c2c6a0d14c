package edition_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/edition-push/edition"
)

func TestReceiptIsDoneWithItsLastResult(t *testing.T) {
	for _, n := range []int{1, 2, 1000} {
		r := edition.NewReceipt(n)
		var all sync.WaitGroup
		for i := range n {
			select {
			case <-r.Done():
				t.Fatal("done too early")
			default:
			}
			if i == n-1 {
				break
			}
			all.Go(func() {
				r.Resolve(i, edition.Result{Outcome: edition.OutcomeStored, Version: edition.Version(i)})
			})
		}
		all.Wait()
		go r.Resolve(n-1, edition.Result{Outcome: edition.OutcomeDelivered, Version: edition.Version(n - 1)})
		results, err := r.Wait(t.Context())
		if err != nil || len(results) != n {
			t.Fatalf("%d results, %v", len(results), err)
		}
		for i, res := range results {
			if res.Version != edition.Version(i) {
				t.Errorf("result %d is that of %d", i, res.Version)
			}
		}
	}
}

func TestReceiptOfNothingIsDone(t *testing.T) {
	if results, err := edition.NewReceipt(0).Wait(t.Context()); err != nil || len(results) != 0 {
		t.Errorf("%v, %v", results, err)
	}
}

func TestReceiptWaitEndsWithItsContext(t *testing.T) {
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	r := edition.NewReceipt(1)
	if _, err := r.Wait(ctx); !errors.Is(err, why) {
		t.Errorf("%v, want the cause", err)
	}
	r.Resolve(0, edition.Result{Outcome: edition.OutcomeStored})
	for range 100 { // never the one of two that are ready which says less
		if _, err := r.Wait(ctx); err != nil {
			t.Fatal("a receipt that is done has results, whatever the context says")
		}
	}
}

func TestReceiptOfOneAllocatesTwice(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		r := edition.NewReceipt(1)
		r.Fresh = append(r.Fresh, edition.Holder{})
		r.Resolve(0, edition.Result{})
	}); n > 2 { // itself and its channel
		t.Errorf("%v allocations", n)
	}
}

func TestOutcomesHaveWords(t *testing.T) {
	want := []string{"none", "stored", "delivered", "gone", "refused", "failed"}
	for i, w := range want {
		if got := edition.Outcome(i).String(); got != w {
			t.Errorf("outcome %d is %q, want %q", i, got, w)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	err := edition.RetryAfter(edition.ErrTooMany, 3*time.Second)
	if r, ok := errors.AsType[*edition.RetryError](err); !ok || r.After != 3*time.Second || !errors.Is(err, edition.ErrTooMany) || err.Error() != edition.ErrTooMany.Error() {
		t.Errorf("%#v", err)
	}
}

func TestHolderParty(t *testing.T) {
	u := edition.NewUAID()
	if h := (edition.Holder{UAID: u}); h.Party() != h {
		t.Error("a device is its own party")
	}
	if h := (edition.Holder{Owner: 3, UAID: u}); h.Party() != (edition.Holder{Owner: 3}) {
		t.Error("the party of a device behind a relay is the relay")
	}
}
