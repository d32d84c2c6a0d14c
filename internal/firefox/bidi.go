package firefox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// bidi is a connection that speaks WebDriver BiDi, the protocol by which
// programs drive browsers (https://w3c.github.io/webdriver-bidi/): commands
// and their answers; it subscribes to no events.
type bidi struct {
	conn *websocket.Conn

	mu      sync.Mutex // guards what follows, and writing
	last    uint64
	waiting map[uint64]chan<- reply
	err     error // why the connection has ended
}

type reply struct {
	Type    string          `json:"type"` // success, error or event
	ID      uint64          `json:"id"`
	Result  json.RawMessage `json:"result"`
	Error   string          `json:"error"`
	Message string          `json:"message"`
}

// dialBiDi connects and begins a session, which is there once the browser's
// window is.
func dialBiDi(ctx context.Context, address string) (*bidi, error) {
	dialer := websocket.Dialer{HandshakeTimeout: time.Minute}
	conn, resp, err := dialer.DialContext(ctx, address+"/session", nil)
	if resp != nil {
		resp.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	b := &bidi{conn: conn, waiting: make(map[uint64]chan<- reply)}
	go b.read()
	if err := b.call(ctx, "session.new", map[string]any{"capabilities": struct{}{}}, nil); err != nil {
		conn.Close()
		return nil, err
	}
	return b, nil
}

// errHungUp says that there is no browser to speak to any more.
var errHungUp = errors.New("the connection to the browser has ended")

func (b *bidi) read() {
	for {
		var r reply
		err := b.conn.ReadJSON(&r)
		b.mu.Lock()
		if err != nil {
			b.err = fmt.Errorf("%w: %w", errHungUp, err)
			for id, c := range b.waiting {
				delete(b.waiting, id)
				close(c)
			}
			b.mu.Unlock()
			return
		}
		if c := b.waiting[r.ID]; c != nil && r.Type != "event" {
			delete(b.waiting, r.ID)
			c <- r
		}
		b.mu.Unlock()
	}
}

// call sends a command and waits for its answer, which goes into result unless
// that is nil.
func (b *bidi) call(ctx context.Context, method string, params, result any) error {
	answer := make(chan reply, 1)
	id, err := b.send(method, params, answer)
	if err != nil {
		return err
	}
	select {
	case r, ok := <-answer:
		switch {
		case !ok:
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.err
		case r.Type != "success":
			return fmt.Errorf("%s: %s: %s", method, r.Error, r.Message)
		case result == nil:
			return nil
		}
		return json.Unmarshal(r.Result, result)
	case <-ctx.Done():
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.waiting, id)
		return fmt.Errorf("%s: %w", method, context.Cause(ctx))
	}
}

func (b *bidi) send(method string, params any, answer chan<- reply) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	b.last++
	b.waiting[b.last] = answer
	err := b.conn.SetWriteDeadline(time.Now().Add(time.Minute))
	if err == nil {
		err = b.conn.WriteJSON(map[string]any{"id": b.last, "method": method, "params": params})
	}
	if err != nil {
		delete(b.waiting, b.last)
	}
	return b.last, err
}

// firstTab is the browsing context of the tab that is there after a start.
func (b *bidi) firstTab(ctx context.Context) (string, error) {
	var tree struct {
		Contexts []struct{ Context string }
	}
	if err := b.call(ctx, "browsingContext.getTree", map[string]any{}, &tree); err != nil {
		return "", err
	}
	if len(tree.Contexts) == 0 {
		return "", errors.New("the browser has no tab")
	}
	return tree.Contexts[0].Context, nil
}

// evaluate runs an expression in a tab, as if after a click there, waits for
// its promise, and decodes its value by way of JSON.
func (b *bidi) evaluate(ctx context.Context, tab, expression string, into any) error {
	var r struct {
		Type             string
		Result           struct{ Value string }
		ExceptionDetails struct{ Text string }
	}
	err := b.call(ctx, "script.evaluate", map[string]any{
		"expression":     "(async () => JSON.stringify((await (" + expression + ")) ?? null))()",
		"target":         map[string]any{"context": tab},
		"awaitPromise":   true,
		"userActivation": true,
	}, &r)
	switch {
	case err != nil:
		return err
	case r.Type != "success":
		return fmt.Errorf("in the page: %s", r.ExceptionDetails.Text)
	case into == nil:
		return nil
	}
	return json.Unmarshal([]byte(r.Result.Value), into)
}
