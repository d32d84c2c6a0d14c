package session

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// stream is one GET /v1/events: server-sent events (WHATWG HTML, "Server-sent
// events") for browsers and scripts. It is a connection that only talks: acks
// come as requests of their own. Like a WebSocket it has at most one UPDATE a
// device in flight and queues nothing. The goroutine of the request writes it.
type stream struct {
	// Fixed after construction.
	s     *Server
	w     http.ResponseWriter
	rc    *http.ResponseController
	asks  asks
	uaids []edition.UAID
	bell  chan struct{} // doorbell

	buf   []byte // Owned by run.
	quiet bool   // Owned by run. Nothing was written since the last beat.

	mu    sync.Mutex
	board board // Guarded by mu.
}

const (
	typeStream = "stream" // as a request is counted
	// maxEventID is the greatest number that a Last-Event-ID is taken for.
	maxEventID = 1 << 53
	// maxComeBack bounds after how long a client that was cut off comes back.
	maxComeBack = 10 * time.Second
)

// events answers GET /v1/events.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		wire.WriteProblem(w, fmt.Errorf("%w: use GET", edition.ErrMethod))
		return
	}
	s.m.message(typeStream)
	st, a, err := s.openStream(w, r)
	if err != nil {
		if wire.Status(err) == http.StatusInternalServerError {
			s.log.Error("an event stream failed", "err", err)
		}
		wire.WriteProblem(w, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // what nginx wants to hear
	w.WriteHeader(http.StatusOK)
	// Not every server has deadlines. A request's is over before a stream is.
	st.rc.SetReadDeadline(time.Time{}) //nolint:errcheck // see above

	s.m.streams.Inc()
	defer s.m.streams.Dec()
	defer st.detach()
	st.buf = fmt.Appendf(st.buf, "retry: %d\n", comeBack(time.Second))
	st.buf = appendEvent(st.buf, wire.TypeHello, 0, a.appendHello(nil))
	st.attach() // before the client may know that it has said hello, and go elsewhere
	if st.write() == nil {
		st.run(r.Context())
	}
}

// openStream checks a request, and proves its devices.
func (s *Server) openStream(w http.ResponseWriter, r *http.Request) (*stream, *admitted, error) {
	if accept := r.Header.Get("Accept"); accept != "" && !strings.Contains(accept, "text/event-stream") && !strings.Contains(accept, "*/*") {
		return nil, nil, fmt.Errorf("%w: this is a stream of text/event-stream", edition.ErrMediaType)
	}
	b, _, err := s.authenticate(r)
	if err != nil {
		return nil, nil, err
	}
	if b != nil {
		return nil, nil, fmt.Errorf("%w: an event stream is for devices; a relay opens a WebSocket or polls", edition.ErrForbidden)
	}
	if s.isDraining() {
		s.m.refuse(reasonStopping)
		return nil, nil, errDraining
	}
	asked, err := asksOf(r.URL)
	if err != nil {
		return nil, nil, err
	}
	claims, err := wire.ParseClaims(r.Header.Get("Authorization"))
	if err != nil {
		return nil, nil, err
	}
	a, err := s.admit(r.Context(), caller{from: remoteText(r.RemoteAddr)}, claims, func(edition.UAID) bool { return false })
	if err != nil {
		return nil, nil, err
	}
	if len(a.uaids) == 0 {
		return nil, nil, errProof
	}
	st := &stream{
		s: s, w: w, rc: http.NewResponseController(w), asks: asked, uaids: a.uaids, bell: make(chan struct{}, 1),
		board: newBoard(false),
	}
	if id, err := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64); err == nil && id < maxEventID {
		st.board.lastID = id
	}
	return st, &a, nil
}

// asksOf reads the query, which has no secrets in it.
func asksOf(u *url.URL) (a asks, err error) {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return a, fmt.Errorf("%w: the query of an event stream", edition.ErrMalformed)
	}
	if text := q.Get("bodies"); text != "" {
		if a.whole, err = strconv.ParseBool(text); err != nil {
			return a, fmt.Errorf(`%w: bodies is neither "true" nor "false"`, edition.ErrMalformed)
		}
	}
	a.least, err = leastUrgency(q.Get("urgency"))
	return a, err
}

// comeBack is after how many milliseconds a client that was cut off is to come
// back: spread over a time, so that not all come at once.
func comeBack(over time.Duration) int64 {
	return (time.Second + rand.N(max(over, time.Second))).Milliseconds()
}

// attach makes the stream the holder of its devices: attach first, then look.
func (st *stream) attach() {
	st.mu.Lock()
	for _, uaid := range st.uaids {
		st.board.hold(uaid)
	}
	st.mu.Unlock()
	st.s.streams.add(st, st.uaids)
	for _, uaid := range st.uaids {
		st.s.hub.Urgency(uaid, st.asks.least)
		st.s.hub.Attach(edition.Holder{UAID: uaid}, st)
		st.Ring(uaid)
	}
}

func (st *stream) detach() {
	st.s.streams.remove(st, st.uaids)
	for _, uaid := range st.uaids {
		st.s.hub.Detach(edition.Holder{UAID: uaid}, st)
	}
}

// Ring implements [hub.Bell].
func (st *stream) Ring(uaid edition.UAID) {
	st.mu.Lock()
	held := st.board.ring(uaid)
	st.mu.Unlock()
	if held {
		st.wake()
	}
}

// Lost implements [hub.Bell].
func (st *stream) Lost(party edition.Holder) {
	st.mu.Lock()
	st.board.drop(party.UAID)
	st.mu.Unlock()
	st.wake()
}

// landed notes an ack.
func (st *stream) landed(u edition.Update) {
	st.mu.Lock()
	st.board.land(u)
	st.mu.Unlock()
	st.wake()
}

func (st *stream) wake() {
	select {
	case st.bell <- struct{}{}:
	default:
	}
}

// beat is how often a stream that is silent shows that it lives, and how late it
// may send again what was not acknowledged in time.
func (st *stream) beat() time.Duration {
	return min(st.s.limits.Ping/4, st.s.limits.AckTimeout/2)
}

// run writes what is pending until the stream ends: with the request, when the
// server drains, when newer connections hold all its devices, or when a write
// fails.
func (st *stream) run(ctx context.Context) {
	tick := time.NewTicker(st.beat())
	defer tick.Stop()
	var sc scratch
	for {
		for more := true; more; {
			var err error
			if more, err = st.flush(&sc); err != nil {
				return
			}
		}
		if st.replaced() {
			st.farewell(errReplaced)
			return
		}
		select {
		case <-st.bell:
		case <-tick.C:
			if st.onBeat() != nil {
				return
			}
		case <-st.s.draining:
			st.buf = fmt.Appendf(st.buf, "retry: %d\n", comeBack(min(time.Duration(st.s.spread.Load()), maxComeBack)))
			st.farewell(errDraining)
			return
		case <-ctx.Done():
			return
		}
	}
}

func (st *stream) replaced() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.board.count() == 0
}

// onBeat has sent again what is overdue, and writes a comment when nothing else
// was written: it keeps proxies from ending the stream, and finds out who has
// gone.
func (st *stream) onBeat() error {
	st.mu.Lock()
	n := st.board.expire(st.s.clock())
	st.mu.Unlock()
	st.s.m.resends.Add(float64(n))
	if st.quiet {
		st.buf = append(st.buf, ":\n\n"...)
		err := st.write()
		st.quiet = true
		return err
	}
	st.quiet = true
	return nil
}

// flush writes one UPDATE, as conn.flushOne does: claim devices, read the store,
// mark what is sent, write. It is false when there is nothing to do; an error
// ends the stream.
func (st *stream) flush(sc *scratch) (more bool, err error) {
	f := st.claim(sc)
	if f == nil {
		return false, nil
	}
	rest, err := st.s.look(sc)
	if err == nil && len(sc.events) > 0 {
		err = st.s.store.Sent(edition.Direct, sc.events)
	}
	if err != nil {
		st.s.log.Warn("cannot read what is pending", "err", err)
		st.farewell(err)
		return false, err
	}
	id, events := st.launch(f, sc, rest)
	if len(events) == 0 {
		return true, nil
	}
	st.s.m.updates.Inc()
	st.s.m.events.Add(float64(len(events)))
	st.buf = appendEvent(st.buf, wire.TypeUpdate, id, sc.bodies.appendUpdate(nil, id, events, st.asks.whole))
	return true, st.write()
}

func (st *stream) claim(sc *scratch) *flight {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.board.ready(0) {
		return nil
	}
	f := st.board.begin()
	sc.asks = st.asks
	sc.uaids = st.board.take(sc.uaids[:0], f, lookups)
	return f
}

func (st *stream) launch(f *flight, sc *scratch, rest *edition.UAID) (uint64, edition.Update) {
	st.mu.Lock()
	defer st.mu.Unlock()
	events := st.board.launch(f, sc.uaids, sc.events, rest)
	if len(events) > 0 {
		f.due = st.s.clock() + st.s.limits.backoff(st.board.tries(f))
	}
	return f.id, events
}

// farewell tells why the stream ends.
func (st *stream) farewell(err error) {
	m := wire.ErrorMessage(err, "")
	b, _ := json.Marshal(m) // of strings
	st.buf = appendEvent(st.buf, wire.TypeError, 0, b)
	st.write() //nolint:errcheck // it ends either way
}

// write sends what was gathered. A client that is slow to read gets as long as
// the limit says.
func (st *stream) write() error {
	st.rc.SetWriteDeadline(time.Now().Add(st.s.limits.Write)) //nolint:errcheck // not every server has one
	_, err := st.w.Write(st.buf)
	if err == nil {
		err = st.rc.Flush()
	}
	st.rc.SetWriteDeadline(time.Time{}) //nolint:errcheck // not every server has one
	if st.buf, st.quiet = st.buf[:0], false; cap(st.buf) > maxPooled {
		st.buf = nil
	}
	return err
}

// appendEvent appends one event; data has no line ends. 0 is no id.
func appendEvent(b []byte, kind string, id uint64, data []byte) []byte {
	b = append(append(b, "event: "...), kind...)
	if id > 0 {
		b = strconv.AppendUint(append(b, "\nid: "...), id, 10)
	}
	return append(append(append(b, "\ndata: "...), data...), "\n\n"...)
}
