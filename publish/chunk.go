package publish

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

var (
	errNoEndpoint  = fmt.Errorf("%w: the line has no endpoint", edition.ErrMalformed)
	errEndpoint    = fmt.Errorf("%w: the endpoint is not one string", edition.ErrMalformed)
	errLineVersion = fmt.Errorf("%w: the line has no version", edition.ErrMalformed)
	errElsewhere   = fmt.Errorf("%w: the endpoint is of another server", edition.ErrNotFound)
)

// chunk is a number of lines that are delivered together.
type chunk struct {
	p     *Publisher
	who   KeyHash // that sends; zero for nobody in particular
	lines []line

	// From deliver on.
	receipt *edition.Receipt // nil: there is no event, or err
	err     error            // for every line that has none of its own
}

// line is one line of a batch.
type line struct {
	event edition.Event
	at    int   // where its key is in the update delivered
	err   error // refused before delivery
}

func newChunk(p *Publisher, who KeyHash) *chunk { return &chunk{p: p, who: who} }

// addText adds a line as read, with its end. A blank one is passed over.
func (c *chunk) addText(text []byte) {
	text = bytes.TrimSpace(text)
	switch {
	case len(text) == 0:
	case len(text) > maxLine:
		c.add(edition.Event{}, errLine)
	default:
		c.add(c.p.parseLine(text, c.who))
	}
}

func (c *chunk) add(e edition.Event, err error) {
	c.lines = append(c.lines, line{event: e, err: err})
}

// parseLine reads {"endpoint":"…","version":N}; endpoint may be the token
// alone. Other fields are ignored.
func (p *Publisher) parseLine(text []byte, who KeyHash) (e edition.Event, err error) {
	endpoint, version, err := splitLine(text)
	if err != nil {
		return e, err
	}
	token, err := p.token(endpoint)
	if err != nil {
		return e, err
	}
	ep, err := p.keys.Open(token)
	if err != nil {
		return e, err
	}
	e.Key = ep.Key
	if err := ep.mayBeSentTo(who); err != nil {
		return e, err
	}
	if err := p.admit(e.Key); err != nil {
		return e, err
	}
	e.Version = version
	return e, nil
}

func splitLine(text []byte) (endpoint string, v edition.Version, err error) {
	var haveEndpoint, haveVersion bool
	err = wire.EachMember(text, func(name string, value []byte) (err error) {
		switch {
		case name == "endpoint" && haveEndpoint || name == "endpoint" && value[0] != '"':
			return errEndpoint
		case name == "endpoint":
			haveEndpoint = true
			if bytes.IndexByte(value, '\\') < 0 {
				endpoint = string(value[1 : len(value)-1])
				return nil
			}
			return json.Unmarshal(value, &endpoint)
		case name == "version" && haveVersion:
			return errTwice
		case name == "version":
			haveVersion = true
			v, err = edition.ParseVersion(value)
		}
		return err
	})
	switch {
	case err == nil && !haveEndpoint:
		err = errNoEndpoint
	case err == nil && !haveVersion:
		err = errLineVersion
	}
	return endpoint, v, err
}

// token takes the token out of an endpoint. Of a URL, scheme and host must be
// ours, in any case.
func (p *Publisher) token(endpoint string) (string, error) {
	if token, ok := strings.CutPrefix(endpoint, p.base); ok {
		return token, nil
	}
	if !strings.ContainsAny(endpoint, ":/") {
		return endpoint, nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errElsewhere
	}
	token, ok := strings.CutPrefix(canonical(u), p.canonical)
	if !ok {
		return "", errElsewhere
	}
	return token, nil
}

// canonical spells a URL in one way: scheme and host in lower case, without
// the scheme's own port (RFC 3986 §6.2.3).
func canonical(u *url.URL) string {
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	switch scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return scheme + "://" + host + u.Path
}

// deliver hands over the chunk's events as one update: sorted, the greatest
// version of each key. It does not wait.
func (c *chunk) deliver(p *Publisher) {
	good := make([]*line, 0, len(c.lines))
	for i := range c.lines {
		if c.lines[i].err == nil {
			good = append(good, &c.lines[i])
		}
	}
	if len(good) == 0 {
		return
	}
	slices.SortFunc(good, func(a, b *line) int {
		return cmp.Or(a.event.Key.Compare(b.event.Key), cmp.Compare(b.event.Version, a.event.Version))
	})
	update := make(edition.Update, 0, len(good))
	for _, l := range good {
		if n := len(update); n == 0 || update[n-1].Key != l.event.Key {
			update = append(update, l.event)
		}
		l.at = len(update) - 1
	}
	if !p.enter() {
		c.err = errBusy
		return
	}
	c.receipt = p.deliver(update, edition.Delivery{})
}

// answers waits for the receipt and appends a line of answer for each line.
func (c *chunk) answers(out []byte) []byte {
	var results []edition.Result
	if c.receipt != nil {
		results, c.err = c.p.await(context.Background(), c.receipt)
		c.p.leave()
	}
	for _, l := range c.lines {
		err := cmp.Or(l.err, c.err)
		var res edition.Result
		if err == nil {
			res = results[l.at]
			if res.Outcome == edition.OutcomeStored && res.Version > l.event.Version {
				res.Superseded = true // also by another line of this chunk
			}
			err = failure(res)
		}
		if err != nil {
			c.p.count(doorBatch, reasonOf(err), l.event.UAID)
			out = appendFailure(out, err)
			continue
		}
		c.p.count(doorBatch, reasonOfResult(res), l.event.UAID)
		out = appendSuccess(out, res)
	}
	return out
}

func appendSuccess(b []byte, r edition.Result) []byte {
	b = append(b, `{"status":`...)
	b = strconv.AppendInt(b, int64(statusOf(r)), 10)
	b = append(b, `,"version":`...)
	b = strconv.AppendUint(b, uint64(r.Version), 10)
	if r.Superseded && r.Outcome == edition.OutcomeStored {
		b = append(b, `,"superseded":true`...)
	}
	return append(b, "}\n"...)
}

// appendFailure is a problem document in one line.
func appendFailure(b []byte, err error) []byte {
	p := wire.ProblemOf(err)
	text, _ := json.Marshal(struct {
		Status     int    `json:"status"`
		Title      string `json:"title"`
		Detail     string `json:"detail,omitempty"`
		RetryAfter int    `json:"retry_after,omitempty"`
	}{p.Status, p.Title, p.Detail, p.RetryAfter})
	return append(append(b, text...), '\n')
}
