package demo

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/edition-push/edition/internal/firefox"
	"github.com/edition-push/edition/kickdrivers/webpush"
)

// browser is Firefox as a device, and a website that uses push in it.
type browser struct {
	s       *stage
	options firefox.Options
	site    *firefox.Site
	live    *firefox.Browser // nil when it is closed

	// Of the subscription.
	endpoint string
	key      *ecdh.PublicKey
	auth     []byte

	tell sync.WaitGroup // of later, which end closes
	end  context.CancelFunc
}

const firefoxName = "firefox"

// browse lets Firefox subscribe at the relay far away, and sends to it. The
// browser is left open.
func (s *stage) browse(ctx context.Context) (_ *browser, err error) {
	at := s.last
	b := &browser{s: s, options: firefox.Options{
		Profile:    filepath.Join(s.dir, "firefox"),
		PushServer: strings.Replace(at.URL, "http", "ws", 1) + "/",
		Output:     s.logFile,
	}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	s.out.text("")
	if b.site, err = firefox.OpenSite(ctx); err != nil {
		return b, err
	}
	if err := b.open(ctx, "starts without a window; its dom.push.serverURL is %s (%s)", b.options.PushServer, at.name); err != nil {
		return b, err
	}
	if err := b.subscribe(ctx); err != nil {
		return b, err
	}
	d := &device{name: firefoxName, endpoint: b.endpoint, where: "a page of it at " + at.name + ", two relays away"}
	if err := s.put(ctx, d, 1); err != nil {
		return b, err
	}
	if err := b.await(ctx); err != nil {
		return b, err
	}
	if err := b.post(ctx, "Hello from the demo."); err != nil {
		return b, err
	}
	if err := b.await(ctx); err != nil {
		return b, err
	}
	if err := b.live.Close(); err != nil {
		return b, err
	}
	b.live = nil
	s.out.step(firefoxName, "is closed")
	if err := b.post(ctx, "This was sent while you were closed."); err != nil {
		return b, err
	}
	if err := b.open(ctx, "starts again"); err != nil {
		return b, err
	}
	if err := b.await(ctx); err != nil {
		return b, err
	}
	d.last.Store(1)
	s.devices = append(s.devices, d)
	b.later()
	return b, nil
}

// open starts Firefox, and says so when it is there.
func (b *browser) open(ctx context.Context, format string, args ...any) (err error) {
	if b.live, err = firefox.Start(ctx, b.options); err == nil {
		b.s.out.step(firefoxName, format, args...)
	}
	return err
}

func (b *browser) subscribe(ctx context.Context) error {
	sub, err := b.site.Subscribe(ctx, b.live, "")
	if err != nil {
		return fmt.Errorf("the page in Firefox could not subscribe: %w", err)
	}
	b.endpoint = sub.Endpoint
	key, err := base64.RawURLEncoding.DecodeString(sub.Keys.P256dh)
	if err == nil {
		b.key, err = ecdh.P256().NewPublicKey(key)
	}
	if err == nil {
		b.auth, err = base64.RawURLEncoding.DecodeString(sub.Keys.Auth)
	}
	if err != nil {
		return fmt.Errorf("the subscription that Firefox made: %w", err)
	}
	b.s.out.step(firefoxName, "a page at %s subscribes", b.site.URL)
	return nil
}

// post sends text as a Web Push app server does.
func (b *browser) post(ctx context.Context, text string) error {
	body, err := webpush.Encrypt([]byte(text), b.key, b.auth)
	if err != nil {
		return err
	}
	b.s.out.step("app", "POST %d encrypted bytes to firefox's endpoint (Web Push)", len(body))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Encoding", "aes128gcm")
	req.Header.Set("TTL", "600")
	start := time.Now()
	resp, err := plain.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("POST to Firefox's endpoint was answered %s", resp.Status)
	}
	b.s.out.step("app", "is answered %d after %s", resp.StatusCode, milliseconds(start))
	return nil
}

// await waits for a push and tells it.
func (b *browser) await(ctx context.Context) error {
	select {
	case p := <-b.site.Pushes:
		return b.came(p)
	case err := <-b.s.failed:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no push came to Firefox: %w", context.Cause(ctx))
	}
}

func (b *browser) came(p firefox.Push) error {
	switch {
	case p.Lost:
		return errors.New("Firefox has lost its subscription") //nolint:staticcheck // a name
	case p.Text == nil:
		b.s.out.step(firefoxName, "runs the page's service worker: a push without a message")
	default:
		b.s.out.step(firefoxName, "runs the page's service worker, with what it decrypted: %q", *p.Text)
	}
	return nil
}

// later goes on telling what comes, until close.
func (b *browser) later() {
	ctx, end := context.WithCancel(b.s.acting)
	b.end = end
	b.tell.Go(func() {
		for {
			select {
			case p := <-b.site.Pushes:
				b.s.fail(firefoxName, b.came(p))
			case <-ctx.Done():
				return
			}
		}
	})
}

// close ends Firefox and the website.
func (b *browser) close() (err error) {
	if b.end != nil {
		b.end()
		b.tell.Wait()
	}
	if b.live != nil {
		err = b.live.Close()
	}
	if b.site != nil {
		err = errors.Join(err, b.site.Close())
	}
	return err
}
