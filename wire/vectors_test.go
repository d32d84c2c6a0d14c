package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/edition-push/edition"
)

// vectors reads a txtar file as name → text without the last line end.
func vectors(tb testing.TB, file string) (names []string, text map[string][]byte) {
	tb.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", file))
	if err != nil {
		tb.Fatal(err)
	}
	text = map[string][]byte{}
	for _, f := range a.Files {
		if text[f.Name] != nil {
			tb.Fatalf("%s: %s stands twice", file, f.Name)
		}
		names = append(names, f.Name)
		text[f.Name] = bytes.TrimSuffix(f.Data, []byte("\n"))
	}
	return names, text
}

func TestMessageVectors(t *testing.T) {
	names, text := vectors(t, "messages.txtar")
	for _, name := range names {
		if strings.HasSuffix(name, ".out") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			want := text[name]
			if out, ok := text[name+".out"]; ok {
				want = out
			}
			m := Message{Type: "old", ID: 99, UAIDs: []edition.UAID{{}}} // nothing of it may stay
			if err := Decode(text[name], &m); err != nil {
				t.Fatal(err)
			}
			if got, err := json.Marshal(m); err != nil || string(got) != string(want) {
				t.Errorf("wrote %s, %v", got, err)
			}
			if m.Type == TypeUpdate {
				if got := AppendUpdate(nil, m.ID, edition.Update(m.Updates)); string(got) != string(want) {
					t.Errorf("AppendUpdate wrote %s", got)
				}
			}
			if m.Type == TypeAck && m.Updates != nil {
				b := AppendAck(nil, m.State == AckStored, edition.Update(m.Updates))
				var again Message
				if !decodeAck(b, &again, nil) {
					t.Errorf("what AppendAck writes must take the fast path: %s", b)
				}
			}
		})
	}
}

func TestRefusedMessages(t *testing.T) {
	names, text := vectors(t, "refused.txtar")
	for _, name := range names {
		var m Message
		if err := Decode(text[name], &m); !errors.Is(err, edition.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
}

func TestRequestVectors(t *testing.T) {
	types := map[string]func() any{
		"register":   func() any { return new(RegisterRequest) },
		"registered": func() any { return new(RegisterResponse) },
		"kicked":     func() any { return new(KickResponse) },
		"update":     func() any { return new(UpdateRequest) },
		"updated":    func() any { return new(UpdateResponse) },
		"ack":        func() any { return new(AckRequest) },
	}
	names, text := vectors(t, "requests.txtar")
	for _, name := range names {
		rest, refused := strings.CutPrefix(name, "refused/")
		kind, _, _ := strings.Cut(rest, "/")
		v := types[kind]()
		err := DecodeJSON(bytes.NewReader(text[name]), v)
		if refused {
			if !errors.Is(err, edition.ErrMalformed) {
				t.Errorf("%s: %v, want ErrMalformed", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := json.Marshal(v); err != nil || !bytes.Equal(got, text[name]) {
			t.Errorf("%s: wrote %s, %v", name, got, err)
		}
	}
}
