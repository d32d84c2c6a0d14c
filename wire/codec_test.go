package wire

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/edition-push/edition"
)

func someUpdate(n int) edition.Update {
	u := make(edition.Update, n)
	for i := range u {
		u[i].UAID, u[i].AppID, u[i].Version = edition.NewUAID(), edition.NewAppID(), edition.Version(i)*1e15
		if i%3 == 1 {
			u[i].UAID = u[i-1].UAID
		}
	}
	return u.Normalize()
}

// allocs is testing.AllocsPerRun, the least of a few: what anybody else
// allocates meanwhile counts there as well.
func allocs(f func()) float64 {
	least := testing.AllocsPerRun(100, f)
	for range 9 {
		if least == 0 {
			break
		}
		least = min(least, testing.AllocsPerRun(100, f))
	}
	return least
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	u := someUpdate(3)
	buf := make([]byte, 0, 4096)
	if n := allocs(func() { buf = AppendUpdate(buf[:0], 7, u) }); n != 0 {
		t.Errorf("AppendUpdate: %v allocations", n)
	}
	update := string(buf)
	if n := allocs(func() { buf = AppendAck(buf[:0], true, u) }); n != 0 {
		t.Errorf("AppendAck: %v allocations", n)
	}
	var m Message
	for _, in := range []string{update, string(buf)} {
		b := []byte(in)
		if n := allocs(func() {
			if err := Decode(b, &m); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("Decode of %.30s…: %v allocations", in, n)
		}
		if !reflect.DeepEqual(edition.Update(m.Updates), u) {
			t.Errorf("%.30s… became %v", in, m.Updates)
		}
	}
}

func TestGreatestMessages(t *testing.T) {
	u := someUpdate(700)
	b := AppendUpdate(nil, 1, u)
	if len(b) > MaxMessage {
		t.Fatalf("%d bytes", len(b))
	}
	var m Message
	if err := Decode(b, &m); err != nil || !reflect.DeepEqual(edition.Update(m.Updates), u) {
		t.Errorf("an update of %d events: %v", len(u), err)
	}
	for name, text := range map[string]string{
		"deep lists":     strings.Repeat("[", MaxMessage),
		"deep objects":   strings.Repeat(`{"a":`, MaxMessage/5),
		"deep unknown":   `{"type":"ping","x":` + strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000) + "}",
		"deep updates":   `{"type":"ack","updates":` + strings.Repeat(`{"a":`, 12_000),
		"a long string":  `{"type":"` + strings.Repeat("x", MaxMessage),
		"a long version": `{"type":"ack","updates":{"` + u[0].UAID.String() + `":{"` + u[0].AppID.String() + `":` + strings.Repeat("9", 60_000) + "}}}",
	} {
		if err := Decode([]byte(text), &m); !errors.Is(err, edition.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: the error repeats it all", name)
		}
	}
}

func TestDecodeJSONOfABodyTooLarge(t *testing.T) {
	r := http.MaxBytesReader(httptest.NewRecorder(), http.NoBody, 10)
	if err := DecodeJSON(r, new(AckRequest)); !errors.Is(err, edition.ErrMalformed) {
		t.Errorf("an empty body: %v", err)
	}
	body := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"relay":"a relay with a long name"}`)).Body
	if err := DecodeJSON(http.MaxBytesReader(httptest.NewRecorder(), body, 10), new(AckRequest)); !errors.Is(err, edition.ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
}

// What the fast paths take means the same to encoding/json, and what they do
// not take is left to it.
func FuzzDecode(f *testing.F) {
	for _, file := range []string{"messages.txtar", "refused.txtar"} {
		_, text := vectors(f, file)
		for _, b := range text {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var fast Message
		err := Decode(b, &fast)
		var slow plainMessage
		err2 := json.Unmarshal(b, &slow)
		want, err3 := slow.message()
		if ok := err2 == nil && err3 == nil; (err == nil) != ok {
			t.Fatalf("%s: %v, but encoding/json: %v, %v", b, err, err2, err3)
		}
		if err != nil {
			if !errors.Is(err, edition.ErrMalformed) {
				t.Fatalf("%s: %v is not ErrMalformed", b, err)
			}
			return
		}
		if len(fast.Updates) == 0 {
			fast.Updates = nil
		}
		if !reflect.DeepEqual(fast, want) {
			t.Fatalf("%s: %+v, but encoding/json: %+v", b, fast, want)
		}
	})
}

// plainMessage is a Message read without any code of this package but its
// types of ids: updates as pairs.
type plainMessage struct {
	Message
	Updates plainUpdates `json:"updates"`
}

type plainUpdates struct{ u edition.Update }

func (p *plainUpdates) UnmarshalJSON(b []byte) error {
	p.u = nil
	if string(b) == "null" {
		return nil
	}
	return EachMember(b, func(name string, apps []byte) error {
		uaid, err := edition.ParseUAID(name)
		if err != nil {
			return err
		}
		return EachMember(apps, func(name string, value []byte) error {
			e := edition.Event{}
			e.UAID = uaid
			if e.AppID, err = edition.ParseAppID(name); err != nil {
				return err
			}
			if err := json.Unmarshal(value, &e.Version); err != nil || string(value) == "null" {
				return errors.Join(err, edition.ErrMalformed)
			}
			p.u = append(p.u, e)
			return nil
		})
	})
}

func (p *plainMessage) message() (Message, error) {
	m := p.Message
	if m.Type == "" {
		return m, edition.ErrMalformed
	}
	if p.Updates.u != nil {
		m.Updates = Updates(p.Updates.u.Normalize())
	}
	return m, m.check()
}

// What AppendJSON writes is read back by the fast path, and is what
// encoding/json writes.
func FuzzUpdates(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), uint8(3))
	f.Fuzz(func(t *testing.T, seed []byte, n uint8) {
		u := make(edition.Update, n)
		for i := range u {
			u[i].UAID, u[i].AppID = [16]byte{6: 0x40, 8: 0x80}, [16]byte{6: 0x40, 8: 0x80}
			for j, c := range seed {
				switch (j + i) % 3 {
				case 0:
					u[i].UAID[j%4] ^= c >> (i % 8)
				case 1:
					u[i].AppID[j%4] ^= c
				default:
					u[i].Version = u[i].Version<<5 ^ edition.Version(c)
				}
			}
			u[i].Version &= edition.MaxVersion
		}
		u = u.Normalize()
		b := Updates(u).AppendJSON(nil)
		got, rest, ok := parseUpdates(nil, b)
		if !ok || len(rest) > 0 || len(got) != len(u) {
			t.Fatalf("%s: %v, rest %q", b, ok, rest)
		}
		nested := map[string]map[string]edition.Version{}
		for i, e := range u {
			if got[i] != e {
				t.Fatalf("%s: event %d became %v", b, i, got[i])
			}
			if nested[e.UAID.String()] == nil {
				nested[e.UAID.String()] = map[string]edition.Version{}
			}
			nested[e.UAID.String()][e.AppID.String()] = e.Version
		}
		if want, err := json.Marshal(nested); err != nil || string(want) != string(b) {
			t.Fatalf("%s, but encoding/json: %s, %v", b, want, err)
		}
	})
}

func FuzzEachMember(f *testing.F) {
	_, text := vectors(f, "messages.txtar")
	for _, b := range text {
		f.Add(b)
	}
	for _, s := range []string{
		`{"a":1,"a":2}`, "{ \"endpoint\" : \"x\" ,\n\"version\" :5}\t", "{}", " { } ", `{"a":01}`, `{"a":1.5}`, `{"a":-1}`, `{"a":"\\n"}`,
		`{"a":1,}`, `{"a":1`, `{"a":1}}`, `{"a"1}`, `{"é":"é"}`, "{\"a\":\"\x01\"}", "{\"a\":\"\x7f\"}", `{,}`, `{"":0}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		last := map[string]string{}
		err := EachMember(b, func(name string, value []byte) error {
			if !json.Valid(value) {
				t.Fatalf("%s: the value of %q is %s", b, name, value)
			}
			last[name] = string(value)
			return nil
		})
		var want map[string]json.RawMessage
		err2 := json.Unmarshal(b, &want)
		if ok := err2 == nil && want != nil; (err == nil) != ok {
			t.Fatalf("%s: %v, but encoding/json: %v", b, err, err2)
		}
		if err != nil {
			return
		}
		for name, value := range want {
			if last[name] != string(value) {
				t.Fatalf("%s: %q is %s, but encoding/json: %s", b, name, last[name], value)
			}
		}
		if len(last) != len(want) {
			t.Fatalf("%s: %d names, but encoding/json: %d", b, len(last), len(want))
		}
	})
}

func BenchmarkAppendUpdate(b *testing.B) {
	u := someUpdate(1)
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendUpdate(buf[:0], 7, u)
	}
}

// BenchmarkDecodeAck is of many events: the digits of one would soon be known to
// the branch predictor.
func BenchmarkDecodeAck(b *testing.B) {
	text := AppendAck(nil, false, someUpdate(MaxUpdate))
	var m Message
	b.ReportAllocs()
	for b.Loop() {
		if err := Decode(text, &m); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/MaxUpdate, "ns/event")
}
