package firefox

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// fakeBrowser answers each command with what answer returns for it, which is a
// whole message; nothing is no answer.
func fakeBrowser(t *testing.T, answer func(id uint64, method string, params json.RawMessage) string) *bidi {
	t.Helper()
	var upgrader websocket.Upgrader
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/session" {
			t.Errorf("connected to %s", r.URL.Path)
		}
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			var command struct {
				ID     uint64
				Method string
				Params json.RawMessage
			}
			if c.ReadJSON(&command) != nil {
				return
			}
			var text string
			switch command.Method {
			case "session.new":
				text = `{"type":"success","id":1,"result":{"sessionId":"s","capabilities":{}}}`
			case "quit":
				return
			default:
				text = answer(command.ID, command.Method, command.Params)
			}
			if text != "" && c.WriteMessage(websocket.TextMessage, []byte(text)) != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	b, err := dialBiDi(t.Context(), strings.Replace(s.URL, "http", "ws", 1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.conn.Close() })
	return b
}

func TestEvaluate(t *testing.T) {
	var answer string
	b := fakeBrowser(t, func(_ uint64, method string, params json.RawMessage) string {
		if method != "script.evaluate" || !strings.Contains(string(params), `"awaitPromise":true`) {
			t.Errorf("%s %s", method, params)
		}
		return answer
	})
	answer = `{"type":"success","id":2,"result":{"type":"success","result":{"type":"string","value":"{\"a\":[1,2]}"}}}`
	var got struct{ A []int }
	if err := b.evaluate(t.Context(), "tab", "f()", &got); err != nil || len(got.A) != 2 {
		t.Errorf("got %v, %v", got, err)
	}
	answer = `{"type":"success","id":3,"result":{"type":"exception","exceptionDetails":{"text":"ReferenceError: f"}}}`
	if err := b.evaluate(t.Context(), "tab", "f()", nil); err == nil || !strings.Contains(err.Error(), "ReferenceError") {
		t.Errorf("got %v, want the exception", err)
	}
	answer = `{"type":"error","id":4,"error":"no such frame","message":"tab"}`
	if err := b.evaluate(t.Context(), "tab", "f()", nil); err == nil || !strings.Contains(err.Error(), "no such frame") {
		t.Errorf("got %v, want the error", err)
	}
}

// TestCallEnds: a command ends with its context and with the connection.
func TestCallEnds(t *testing.T) {
	b := fakeBrowser(t, func(uint64, string, json.RawMessage) string { return `{"type":"event","method":"log"}` })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.call(ctx, "wait", struct{}{}, nil); err == nil {
		t.Error("a command outlived its context")
	}
	if err := b.call(t.Context(), "quit", struct{}{}, nil); err == nil {
		t.Error("a command outlived its connection")
	}
	if err := b.call(t.Context(), "later", struct{}{}, nil); err == nil {
		t.Error("a command was sent after the connection had ended")
	}
}
