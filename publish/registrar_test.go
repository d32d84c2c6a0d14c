package publish

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/edition-push/edition"
)

// book is a store that only takes registrations.
type book struct {
	edition.Store
	registered   []edition.Registration
	unregistered []edition.Key
	err          error
}

func (b *book) Register(_ context.Context, r edition.Registration) error {
	b.registered = append(b.registered, r)
	return b.err
}

func (b *book) Unregister(_ context.Context, k edition.Key) error {
	b.unregistered = append(b.unregistered, k)
	return b.err
}

func TestRegistrar(t *testing.T) {
	keys, key := ring(t, 1), newKey()
	for _, public := range []string{"https://push.example", "https://push.example/", "https://push.example/base//"} {
		b := &book{}
		r := NewRegistrar(keys, public, b)
		endpoint, err := r.Register(t.Context(), edition.Registration{Key: key, Owner: 3})
		if want := strings.TrimRight(public, "/") + "/v1/e/" + keys.Seal(key); err != nil || endpoint != want {
			t.Errorf("%s, %v, want %s", endpoint, err, want)
		}
		if len(b.registered) != 1 || b.registered[0].Key != key || b.registered[0].Owner != 3 {
			t.Errorf("registered %+v", b.registered)
		}
		if err := r.Unregister(t.Context(), key); err != nil || len(b.unregistered) != 1 || b.unregistered[0] != key {
			t.Errorf("unregistered %v, %v", b.unregistered, err)
		}
	}
}

// An endpoint is a promise: none without a registration that is kept.
func TestRegistrarOfAStoreThatFails(t *testing.T) {
	r := NewRegistrar(ring(t, 1), publicURL, &book{err: edition.ErrUnavailable})
	if endpoint, err := r.Register(t.Context(), edition.Registration{Key: newKey()}); endpoint != "" || !errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("%q, %v", endpoint, err)
	}
	if err := r.Unregister(t.Context(), newKey()); !errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("%v", err)
	}
}

func TestRegistrarWantsGoodKeys(t *testing.T) {
	a := newAppServer(t)
	for name, key := range map[string][]byte{
		"empty": {}, "short": a.point[:64], "long": append(a.point[:65:65], 0), "zero": make([]byte, 65), "infinity": {0},
		"off the curve": append([]byte{4}, make([]byte, 64)...), "compressed": append([]byte{2}, a.point[1:33]...),
	} {
		b := &book{}
		endpoint, err := NewRegistrar(ring(t, 1), publicURL, b).Register(t.Context(), edition.Registration{Key: newKey(), AppKey: key})
		if endpoint != "" || !errors.Is(err, edition.ErrMalformed) || len(b.registered) > 0 {
			t.Errorf("%s: %q, %v", name, endpoint, err)
		}
	}
}

func TestServerAsksNobodyAbove(t *testing.T) {
	r := NewRegistrar(ring(t, 1), publicURL, &book{})
	who, err := r.Claim(t.Context(), []edition.Credential{{UAID: edition.NewUAID()}}, 0)
	if err != nil || len(who) != 0 {
		t.Errorf("%v, %v", who, err)
	}
	r.Present([]edition.Agent{{UAID: edition.NewUAID()}})
}
