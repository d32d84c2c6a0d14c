package dialect_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/dialect"
	"github.com/edition-push/edition/dialect/mozpush"
	"github.com/edition-push/edition/dialect/simplepush"
	"github.com/edition-push/edition/session"
)

// TestVectors plays the conversations in testdata: an archive each, with the
// options and what is said. Time is the test's own.
//
//	connect [NAME]          another connection, which what follows is about
//	use NAME                back to an earlier one
//	> TEXT                  the device says
//	< JSON                  the device hears; "$x" takes a string, or names one
//	closed CODE             the connection is closed, and nothing more was heard
//	put APP VERSION [DATA]  a version, with or without a body
//	post APP ENCODING TEXT  a message; topic APP NAME ENCODING TEXT: of a topic
//	outcome WORD            what came of the last of these
//	wait DURATION           time passes
//	silent                  nothing is heard
//	state APP WORD          what GET on the endpoint shows
//	route UAID JSON|-       how the device is woken
//	away / back             who is above cannot be asked, or can again
//	secret UAID             a device of edition.v1 has this UAID
//	rename / last           what the last registration said
func TestVectors(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(file), "testdata/"), ".txtar"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { play(t, a) })
		})
	}
}

func optionsOf(t *testing.T, a *txtar.Archive) (o dialect.Options, l session.Limits) {
	o = dialect.Options{
		PingMin:    20 * time.Second,
		SimplePush: simplepush.Options{MaxChannels: 3},
		Mozilla:    mozpush.Options{Backlog: 3},
	}
	for _, f := range a.Files {
		if f.Name != "options" {
			continue
		}
		for word := range strings.FieldsSeq(string(f.Data)) {
			switch word {
			case "lax":
				o.SimplePush.Lax = true
			case "carrier":
				o.SimplePush.Carrier = true
			case "last":
				o.SimplePush.Last = true
			case "anyping":
				o.PingMin = 0
			case "idle":
				l.IdleClose = 5 * time.Minute
			default:
				t.Fatalf("no option %q", word)
			}
		}
	}
	return o, l
}

type player struct {
	*stage
	t       *testing.T
	conns   map[string]*client
	at      *client
	names   map[string]string
	outcome edition.Outcome
}

func play(t *testing.T, a *txtar.Archive) {
	o, l := optionsOf(t, a)
	p := &player{t: t, stage: inMemory(t, o, l), conns: make(map[string]*client), names: make(map[string]string)}
	for _, f := range a.Files {
		if f.Name != "talk" {
			continue
		}
		n := 0
		for line := range strings.Lines(string(f.Data)) {
			n++
			line = strings.TrimSpace(line)
			if line == "" || line[0] == '#' {
				continue
			}
			verb, rest, _ := strings.Cut(line, " ")
			if t.Failed() {
				return
			}
			if err := p.do(verb, rest); err != nil {
				t.Fatalf("line %d, %s: %v", n, line, err)
			}
		}
	}
	for name, c := range p.conns {
		select {
		case m, ok := <-c.in:
			if ok {
				t.Errorf("connection %s heard %s at the end", name, m)
			}
		default:
		}
		c.ws.Close()
	}
	p.close()
}

func (p *player) do(verb, rest string) error {
	if verb != "<" {
		rest = p.fill(rest)
	}
	words := strings.Fields(rest)
	synctest.Wait()
	switch verb {
	case "connect":
		p.at = p.connect()
		p.conns[rest] = p.at
	case "plain":
		p.at = p.connect([]string{}...)
		p.conns[rest] = p.at
	case "use":
		p.at = p.conns[rest]
	case ">":
		p.at.say(rest)
	case "<":
		return p.match(rest)
	case "closed":
		if code := strconv.Itoa(p.at.closed()); code != rest {
			return fmt.Errorf("closed with %s", code)
		}
	case "silent":
		select {
		case m, ok := <-p.at.in:
			return fmt.Errorf("heard %s (open: %v)", m, ok)
		default:
		}
	case "put":
		return p.put(words)
	case "post":
		slot := p.slots.Next(time.Now())
		p.outcome = p.message(slot, words[0], words[1], strings.Join(words[2:], " "))
	case "topic":
		p.outcome = p.message(edition.TopicSlot(p.app(words[0]), words[1]), words[0], words[2], strings.Join(words[3:], " "))
	case "outcome":
		if got := p.outcome.String(); got != rest {
			return fmt.Errorf("it was %s", got)
		}
	case "wait":
		d, err := time.ParseDuration(rest)
		if err != nil {
			return err
		}
		time.Sleep(d)
	case "state":
		s, err := p.store.State(edition.Key{UAID: p.uaid(p.names["uaid"]), AppID: p.app(words[0])})
		if got := s.State; err != nil || got != words[1] {
			return fmt.Errorf("it is %s, %w", got, err)
		}
	case "gone":
		if s, err := p.store.State(edition.Key{UAID: p.uaid(p.names["uaid"]), AppID: p.app(words[0])}); err == nil {
			return fmt.Errorf("it is %s", s.State)
		}
	case "route":
		return p.route(words[0], strings.Join(words[1:], " "))
	case "away", "back":
		p.reg.set(verb == "away")
	case "secret":
		return p.store.Register(p.t.Context(), edition.Registration{
			Key: edition.Key{UAID: p.uaid(rest), AppID: edition.NewAppID()}, Proof: edition.Proof{1},
		})
	case "claimable":
		p.reg.ours[p.uaid(rest)] = true
		return p.store.Bind(p.t.Context(), edition.Agent{UAID: p.uaid(rest), Proof: edition.ProofOfUAID(p.uaid(rest)), Upstream: "up"})
	case "key":
		p.reg.mu.Lock()
		defer p.reg.mu.Unlock()
		if got := len(p.reg.last.AppKey); strconv.Itoa(got) != rest {
			return fmt.Errorf("the key had %d bytes", got)
		}
	default:
		return fmt.Errorf("no such verb")
	}
	return nil
}

var name = regexp.MustCompile(`\$[a-z0-9]+`)

// fill puts what was heard in the place of its name.
func (p *player) fill(text string) string {
	return name.ReplaceAllStringFunc(text, func(n string) string {
		value, ok := p.names[n[1:]]
		if !ok {
			p.t.Fatalf("%s was not heard", n)
		}
		return value
	})
}

func (p *player) uaid(text string) edition.UAID {
	for _, form := range []string{text, dashed(text)} {
		if u, err := edition.ParseUAID(form); err == nil {
			return u
		}
	}
	p.t.Fatalf("no uaid: %s", text)
	return edition.UAID{}
}

func dashed(s string) string {
	if len(s) != 32 {
		return s
	}
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

func (p *player) app(text string) edition.AppID {
	a, err := edition.ParseAppID(dashed(text))
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

func (p *player) put(words []string) error {
	v, err := edition.ParseVersion(words[1])
	if err != nil {
		return err
	}
	app := p.app(words[0])
	var b *edition.Body
	if len(words) > 2 {
		b = &edition.Body{AppID: app, Data: []byte(strings.Join(words[2:], " "))}
	}
	p.outcome = p.deliver(edition.Event{Key: edition.Key{UAID: p.uaid(p.names["uaid"]), AppID: app}, Version: v}, b)
	return nil
}

func (p *player) message(slot edition.AppID, app, encoding, text string) edition.Outcome {
	b := &edition.Body{AppID: p.app(app), TTL: time.Hour, Urgency: edition.UrgencyNormal, Data: []byte(text)}
	if encoding != "-" {
		b.Encoding = encoding
	}
	if encoding == "aesgcm" {
		b.Encryption, b.CryptoKey = "salt=s", "dh=d"
	}
	return p.deliver(edition.Event{Key: edition.Key{UAID: p.uaid(p.names["uaid"]), AppID: slot}}, b)
}

func (p *player) route(uaid, want string) error {
	routes, err := p.store.Routes(edition.Holder{UAID: p.uaid(uaid)})
	if err != nil {
		return err
	}
	got := "-"
	if len(routes) > 0 {
		got = string(routes[0].Target)
	}
	if compact(got) != compact(want) {
		return fmt.Errorf("it is %s", got)
	}
	return nil
}

// match hears one message.
func (p *player) match(want string) error {
	text := p.at.hear()
	var w, g any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(text), &g); err != nil {
		return fmt.Errorf("heard %s: %w", text, err)
	}
	if !p.same(w, g) {
		return fmt.Errorf("heard %s", text)
	}
	return nil
}

func (p *player) same(want, got any) bool {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for k, v := range w {
			if gv, ok := g[k]; !ok || !p.same(v, gv) {
				return false
			}
		}
		return true
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for i := range w {
			if !p.same(w[i], g[i]) {
				return false
			}
		}
		return true
	case string:
		n, named := strings.CutPrefix(w, "$")
		if !named {
			return got == w
		}
		g, ok := got.(string)
		if num, isNum := got.(float64); isNum {
			g, ok = strconv.FormatFloat(num, 'f', -1, 64), true
		}
		if known, set := p.names[n]; set {
			return ok && g == known
		}
		p.names[n] = g
		return ok && g != ""
	}
	return reflect.DeepEqual(want, got)
}
