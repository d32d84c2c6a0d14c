package publish

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/internal/patience"
	"github.com/edition-push/edition/wire"
)

// Options of a Publisher. Log and Metrics may be nil.
type Options struct {
	Keys      *Keyring
	PublicURL string // as given to NewRegistrar
	Store     edition.Store
	// Deliver keeps an update and tells its devices: hub.Deliver.
	Deliver func(edition.Update, edition.Delivery) *edition.Receipt
	// Withdraw withdraws a message: hub.Withdraw. nil: the store does, and
	// nobody is told.
	Withdraw func(context.Context, edition.Event) (withdrawn bool, err error)
	// Connected reports whether a session holds a party: hub.Connected. nil:
	// nobody is, and messages with a TTL of 0 are dropped.
	Connected func(party edition.Holder) bool
	// Watch returns a doorbell that rings when an event of a key is
	// acknowledged: hub.Watch. nil: the store is asked now and then.
	Watch   func(edition.Key) (bell <-chan struct{}, end func())
	Limits  Limits
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Limits of a Publisher. A zero value stands for the default.
type Limits struct {
	// Waiting bounds the PUTs, POSTs, and chunks of batches, that wait for their
	// receipts at once; one more is refused with 503. Default 10,000.
	Waiting int
	// Wait bounds how long one waits for its receipt, or a quarter longer: then
	// 503, not known to be kept. Default 30 s.
	Wait time.Duration
	// Rate is how many requests (or lines of a batch) a second one endpoint
	// takes; more are refused with 429. Default 0: no limit.
	Rate float64
	// Burst is how many may come at once when Rate is set. Default 10.
	Burst int
	// Batches bounds the POSTs to /v1/events that are open at once. Default 64.
	Batches int
	// Receipts bounds the requests that wait for receipts of messages at once;
	// one more is refused with 503. Default 1000.
	Receipts int
	// Idle bounds the time to receive one body, or one line of a batch, and
	// to send one chunk of a batch's answers. Default 60 s.
	Idle time.Duration
}

func (l Limits) withDefaults() Limits {
	if l.Waiting <= 0 {
		l.Waiting = 10_000
	}
	if l.Wait <= 0 {
		l.Wait = 30 * time.Second
	}
	if l.Burst <= 0 {
		l.Burst = 10
	}
	if l.Batches <= 0 {
		l.Batches = 64
	}
	if l.Receipts <= 0 {
		l.Receipts = 1000
	}
	if l.Idle <= 0 {
		l.Idle = time.Minute
	}
	return l
}

// Publisher is the handler of /v1/e/{token}, /v1/m/{token}, /v1/r/{token} and
// /v1/events. A proxy before it strips the path of the public URL, if that has one.
type Publisher struct {
	// Fixed after construction.
	keys      *Keyring
	base      string // what stands before a token
	canonical string // the same, canonical
	messages  string // what stands before a message's token
	receipts  string // and before that of its receipt
	store     edition.Store
	deliver   func(edition.Update, edition.Delivery) *edition.Receipt
	withdraw  func(context.Context, edition.Event) (bool, error)
	connected func(edition.Holder) bool                   // may be nil
	watch     func(edition.Key) (<-chan struct{}, func()) // may be nil
	vapid     *verifier
	limits    Limits
	rate      *limiter           // nil: no limit
	patience  *patience.Patience // of those that wait for receipts
	log       *slog.Logger
	metrics   *metrics
	stop      context.CancelFunc
	stopped   context.Context // ends with Drain

	waiting atomic.Int64
	batches atomic.Int64
	held    atomic.Int64 // requests for receipts
	slots   edition.SlotMaker
	pool    sync.Pool // of *call
}

// New returns a Publisher.
func New(o Options) *Publisher {
	root := strings.TrimRight(o.PublicURL, "/")
	p := &Publisher{
		keys: o.Keys, base: endpointBase(o.PublicURL), messages: root + wire.PathMessage, receipts: root + wire.PathReceipt,
		store: o.Store, deliver: o.Deliver, connected: o.Connected, watch: o.Watch, vapid: newVerifier(o.PublicURL),
		limits: o.Limits.withDefaults(), log: o.Log,
	}
	if u, err := url.Parse(p.base); err == nil {
		p.canonical = canonical(u)
	}
	if p.withdraw = o.Withdraw; p.withdraw == nil {
		p.withdraw = func(ctx context.Context, e edition.Event) (bool, error) {
			withdrawn, _, err := p.store.Withdraw(ctx, e)
			return withdrawn, err
		}
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.patience = patience.New(context.Background(), p.limits.Wait)
	if p.limits.Rate > 0 {
		p.rate = newLimiter(p.limits.Rate, p.limits.Burst)
	}
	p.stopped, p.stop = context.WithCancel(context.Background())
	p.metrics = newMetrics(o.Metrics, &p.waiting, &p.held)
	p.pool.New = func() any { return newCall() }
	return p
}

// Drain ends open batches after what has been read of them, whose clients would
// go on for ever, and requests that wait for receipts. PUTs are refused by the hub when that drains.
func (p *Publisher) Drain() { p.stop() }

// Prepared header values; nobody changes them.
var (
	typeJSON     = []string{"application/json"}
	typeLines    = []string{"application/x-ndjson"}
	noStore      = []string{"no-store"}
	forADay      = []string{"max-age=86400"}
	codings      = []string{codingAES128GCM + ", " + codingAESGCM}
	scheme       = []string{"vapid"}
	corsAny      = []string{"*"}
	corsShow     = []string{"Retry-After, WWW-Authenticate"}
	corsShowPost = []string{"Location, Link, TTL"}
	corsHeader   = []string{"Content-Type, Content-Encoding, TTL, Urgency, Topic, Prefer, Link, Authorization, Encryption, Crypto-Key"}
	corsAge      = []string{"86400"}
	methods      = []string{"GET, HEAD, PUT, POST, OPTIONS"}
	methodPost   = []string{"POST"}
)

// ServeHTTP answers for all paths. It does not use a mux: one PUT is one
// event, and this is where they all come in.
func (p *Publisher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if token, ok := strings.CutPrefix(path, wire.PathEndpoint); ok {
		p.serveEndpoint(w, r, token)
	} else if token, ok := strings.CutPrefix(path, wire.PathMessage); ok {
		p.serveMessage(w, r, token)
	} else if token, ok := strings.CutPrefix(path, wire.PathReceipt); ok {
		p.serveReceipt(w, r, token)
	} else if path != wire.PathEvents {
		p.refuse(w, doorOther, edition.UAID{}, errNoPath)
	} else if r.Method != http.MethodPost {
		w.Header()["Allow"] = methodPost
		p.refuse(w, doorBatch, edition.UAID{}, methodError(r.Method))
	} else {
		p.serveBatch(w, r)
	}
}

func (p *Publisher) serveEndpoint(w http.ResponseWriter, r *http.Request, token string) {
	h := w.Header()
	h["Access-Control-Allow-Origin"] = corsAny
	d := doorGet
	switch r.Method {
	case http.MethodPut:
		d = doorPut
	case http.MethodPost:
		d = doorPost
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		p.allow(w, methods)
		return
	default:
		h["Allow"] = methods
		p.refuse(w, doorOther, edition.UAID{}, methodError(r.Method))
		return
	}
	ep, err := p.keys.Open(token)
	if err == nil {
		err = p.admit(ep.Key)
	}
	switch {
	case err != nil:
		p.refuse(w, d, ep.UAID, err)
	case d == doorPut:
		p.put(w, r, ep)
	case d == doorPost:
		p.post(w, r, ep)
	default:
		p.show(w, r, ep)
	}
}

// allow answers a CORS preflight, the same for every token.
func (p *Publisher) allow(w http.ResponseWriter, methods []string) {
	h := w.Header()
	h["Allow"] = methods
	h["Access-Control-Allow-Methods"] = methods
	h["Access-Control-Allow-Headers"] = corsHeader
	h["Access-Control-Max-Age"] = corsAge
	w.WriteHeader(http.StatusNoContent)
}

// admit applies the endpoint's rate.
func (p *Publisher) admit(key edition.Key) error {
	if p.rate == nil {
		return nil
	}
	return p.rate.admit(key, time.Now())
}

// refuse answers with a problem document and counts its reason.
func (p *Publisher) refuse(w http.ResponseWriter, d door, uaid edition.UAID, err error) {
	why := reasonOf(err)
	p.count(d, why, uaid)
	h := w.Header()
	h["Access-Control-Expose-Headers"] = corsShow
	switch {
	case why == reasonUnauthorized:
		h["Www-Authenticate"] = scheme
	case why == reasonGone && d != doorMessage && d != doorReceipt:
		h["Cache-Control"] = forADay
	}
	wire.WriteProblem(w, err)
}

// count is the one place where an answer becomes a metric and a debug line.
func (p *Publisher) count(d door, why reason, uaid edition.UAID) {
	p.metrics.answers[d][why].Inc()
	if ctx := context.Background(); p.log.Enabled(ctx, slog.LevelDebug) {
		p.log.LogAttrs(ctx, slog.LevelDebug, "answered app server",
			slog.String("door", d.String()), slog.String("reason", why.String()), slog.Any("uaid", uaid))
	}
}
