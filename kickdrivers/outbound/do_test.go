package outbound

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition/kickdrivers/kicktest"
)

// TestConnect tells what fails before a request is sent from what fails after.
func TestConnect(t *testing.T) {
	aborts := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	s, port, ca := secure(t, aborts)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	plainly := httptest.NewServer(http.HandlerFunc(aborts))
	defer plainly.Close()
	none := names(func() []netip.Addr { return nil })
	for _, c := range []struct {
		name string
		to   string
		o    Options
		want bool
	}{
		{"nobody listens", "http://" + kicktest.Nobody(t), Options{}, true},
		{"no such name", "https://none.example.com:" + port, Options{Resolver: none}, true},
		{"a certificate that is not trusted", s.URL, Options{}, true},
		{"a certificate for another name", "https://other.example.org:" + port, Options{TLS: TLS{CAFile: ca}, Resolver: names(func() []netip.Addr { return []netip.Addr{allowedIP} })}, true},
		{"no TLS", "https://" + plainly.Listener.Addr().String(), Options{}, true},
		{"hangs up on a request", s.URL, Options{TLS: TLS{CAFile: ca}}, false},
		{"hangs up on a request, without TLS", plainly.URL, Options{}, false},
	} {
		a, err := post(t, client(t, c.o), c.to)
		if err == nil || errors.Is(err, ErrConnect) != c.want {
			t.Errorf("%s: %v, %v; want ErrConnect: %v", c.name, a, err, c.want)
		}
	}

	// To connect takes half the time at most. Here all but the handshake has
	// time enough, however slow the machine is.
	hc := client(t, Options{})
	transport := hc.Transport.(*http.Transport)
	if transport.TLSHandshakeTimeout != hc.Timeout/2 {
		t.Errorf("a handshake may take %v of %v", transport.TLSHandshakeTimeout, hc.Timeout)
	}
	transport.TLSHandshakeTimeout = 100 * time.Millisecond
	if a, err := post(t, hc, "https://"+silent.Addr().String()); !errors.Is(err, ErrConnect) {
		t.Errorf("a handshake without end: %v, %v; want ErrConnect", a, err)
	}
	// A server that has the request and does not answer.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	mute := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		cancel()
		<-done
	}))
	defer mute.Close()
	defer close(done)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, mute.URL, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if a, err := Do(client(t, Options{}), req, 0); err == nil || errors.Is(err, ErrConnect) {
		t.Errorf("no answer: %v, %v; want another error than ErrConnect", a, err)
	}
}

func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		var running, most, done atomic.Int32
		Slots(make(chan struct{}, 4)).Each(ctx, 20, func(int) {
			n := running.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			select {
			case <-time.After(10 * time.Second):
				done.Add(1)
			case <-ctx.Done():
			}
			running.Add(-1)
		})
		if most.Load() != 4 && most.Load() != 5 || done.Load() != 8 {
			t.Errorf("%d at once, %d done", most.Load(), done.Load())
		}
		if ctx.Err() == nil {
			t.Error("returned before the context ended")
		}
	})
}
