package firefox

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"time"
)

//go:embed page
var pages embed.FS

// Site is a website on loopback that uses push: a page, and a service worker
// that tells the site of each push that it gets.
type Site struct {
	// URL of the page, with a / at its end.
	URL string
	// Pushes are what came, in order.
	Pushes <-chan Push

	server *http.Server
}

// Push is what the service worker got.
type Push struct {
	Text *string `json:"text"` // what was decrypted; nil when the push was empty
	// Lost: there was no push, the browser has dropped the subscription.
	Lost bool `json:"lost"`
}

// Subscription is what a page gets of the browser, and passes on to its app
// server (Push API, PushSubscription.toJSON).
type Subscription struct {
	Endpoint string `json:"endpoint"`
	Keys     struct {
		P256dh string `json:"p256dh"`
		Auth   string `json:"auth"`
	} `json:"keys"`
}

// maxPushed bounds what a worker tells: a message has 4 KiB at most, and JSON
// may take six bytes for one.
const maxPushed = 32 << 10

// OpenSite serves the website until Close. Its address stays the same, which
// subscriptions depend on: they belong to an origin.
func OpenSite(ctx context.Context) (*Site, error) {
	folder, err := fs.Sub(pages, "page")
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	pushes := make(chan Push, 100)
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(folder))
	mux.HandleFunc("POST /pushed", func(w http.ResponseWriter, r *http.Request) {
		var p Push
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxPushed)).Decode(&p); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		select {
		case pushes <- p:
			w.WriteHeader(http.StatusNoContent)
		case <-r.Context().Done():
		}
	})
	s := &Site{URL: "http://" + l.Addr().String() + "/", Pushes: pushes}
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go s.server.Serve(l) //nolint:errcheck // it ends with Close
	return s, nil
}

// Close ends the website.
func (s *Site) Close() error { return s.server.Close() }

// Subscribe opens the site's page in the browser and subscribes there. key is
// the app server's VAPID public key in base64url; empty is none.
func (s *Site) Subscribe(ctx context.Context, b *Browser, key string) (sub Subscription, err error) {
	if err := b.Open(ctx, s.URL); err != nil {
		return sub, err
	}
	quoted, err := json.Marshal(key)
	if err != nil {
		return sub, err
	}
	return sub, b.Eval(ctx, "subscribe("+string(quoted)+")", &sub)
}

// ErrNotSubscribed says that the browser had no subscription to end.
var ErrNotSubscribed = errors.New("the browser said that there was no subscription")

// Unsubscribe opens the site's page and ends the subscription. The browser
// tells its push server on its own time.
func (s *Site) Unsubscribe(ctx context.Context, b *Browser) error {
	if err := b.Open(ctx, s.URL); err != nil {
		return err
	}
	var ended bool
	err := b.Eval(ctx, "unsubscribe()", &ended)
	if err == nil && !ended {
		err = ErrNotSubscribed
	}
	return err
}
