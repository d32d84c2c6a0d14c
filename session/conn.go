package session

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// conn is one WebSocket connection. Its one standing goroutine reads (serve);
// there is none that writes: whoever has something to say takes the write lock,
// and updates are sent by a flush that lives only while there is something to
// send. Everything that a connection is between two messages stands here and
// nothing on a stack, so that an idle one can later be parked without a
// goroutine: end serve instead of blocking in NextReader, and start it again
// when the socket is readable.
type conn struct {
	// Fixed after construction.
	s       *Server
	ws      *websocket.Conn // read from; frames are written by send
	net     net.Conn
	raw     syscall.RawConn // nil when it cannot be written to without blocking (TLS)
	badge   *badge          // what a relay has shown; nil: a device
	workers chan struct{}   // of a relay: bounds its messages being worked on

	// Of a device that speaks another protocol; nil: edition.v1. It may become
	// nil at the first message, before anything is held.
	talk Talk

	// Owned by the goroutine in serve.
	self   *peer  // which of those that its badge proves it is: the first until its hello
	store  string // the ID of the relay's own store, as its hello said
	rate   bucket
	faults uint8

	// read, pinged and stirred are coarse times: the last frame that came,
	// when the peer was last pinged, and the last traffic that was no ping.
	read, pinged, stirred atomic.Int64

	wmu     sync.Mutex
	sentEnd bool // Guarded by wmu. A close frame was written: nothing may follow.

	mu       sync.Mutex // guards what follows
	board    board
	owner    edition.Owner   // of a relay that said hello
	linked   *peer           // the relay whose calls go over this connection
	greeted  bool            // a hello or a register has come
	bodies   bool            // it is told what events carry, by their slots
	urgency  edition.Urgency // less urgent messages wait
	mapped   bool            // it was told of events in slots by their apps
	flushing bool            // a flush is running, or will be by who set it
	pings    int             // of a relay, that came during a flush, whose UPDATE goes before the pong
	stalled  bool            // the store failed under a flush; the wheel tries again
	closing  bool            // its end is decided: nothing is taken or sent any more
	deadline time.Duration   // until when it must be greeted; when a closing one is cut off

	slot, at int32 // Guarded by the wheel.
}

func newConn(s *Server, ws *websocket.Conn, b *badge, p *peer) *conn {
	c := &conn{s: s, ws: ws, net: ws.NetConn(), badge: b, self: p}
	if sc, ok := c.net.(syscall.Conn); ok && canTryWrite {
		c.raw, _ = sc.SyscallConn() // nil is fine
	}
	c.rate = bucket{tokens: float32(s.limits.Burst), last: s.clock()}
	c.board = newBoard(b != nil)
	c.bodies = b != nil
	if b != nil {
		c.workers = make(chan struct{}, relayWorkers)
	}
	c.read.Store(s.now.Load())
	c.stir()
	c.deadline = s.clock() + s.limits.Hello
	ws.SetPingHandler(c.onPing)
	ws.SetPongHandler(c.onPong)
	ws.SetCloseHandler(c.onClose)
	return c
}

// window bounds the UPDATEs in flight: a device's by its UAIDs, a relay's by
// the limit.
func (c *conn) window() int {
	if c.badge == nil {
		return 0
	}
	return c.s.limits.Window
}

func (c *conn) caller() caller {
	c.mu.Lock()
	owner := c.owner
	c.mu.Unlock()
	return caller{peer: c.self, owner: owner, from: remote(c.net.RemoteAddr())}
}

// Ring implements [hub.Bell]. A device that holds one UAID gets its UPDATE
// from the goroutine that rings, which is cheaper than starting one: that is
// one read of the store and one write that does not wait.
func (c *conn) Ring(uaid edition.UAID) {
	if c.rung(uaid) {
		c.flushAlone(true)
	}
}

// rung notes a ring. It is true when the caller is to flush.
func (c *conn) rung(uaid edition.UAID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || !c.board.ring(uaid) {
		return false
	}
	if c.raw != nil {
		return c.flushHere()
	}
	c.wake()
	return false
}

// claimFlush is true when a flush is due, and the caller's to run, by
// flushAlone. The caller holds mu.
func (c *conn) claimFlush() bool {
	if c.flushing || c.closing || !c.board.ready(c.window()) {
		return false
	}
	c.flushing = true
	c.s.conns.Add(1)
	return true
}

// wake starts a flush in the background if one is due. The caller holds mu.
func (c *conn) wake() {
	if c.claimFlush() {
		go c.flushAlone(false)
	}
}

// Lost implements [hub.Bell]: a newer connection holds the party.
func (c *conn) Lost(party edition.Holder) {
	if party.Owner != edition.Direct || c.drop(party.UAID) {
		c.end(wire.CloseReplaced, "a newer connection has taken over", reasonReplaced)
	}
}

// drop reports whether a UAID was held here and was the last.
func (c *conn) drop(uaid edition.UAID) (last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	had := c.board.holds(uaid)
	c.board.drop(uaid)
	return had && c.board.count() == 0
}

// hold makes this connection the holder of UAIDs. They are looked up when the
// caller, who has paused the flush, resumes it: attach first, then look.
func (c *conn) hold(uaids []edition.UAID) {
	if !c.admit(uaids) {
		return
	}
	least := c.least()
	for _, uaid := range uaids {
		c.s.hub.Urgency(uaid, least)
		c.s.hub.Attach(edition.Holder{UAID: uaid}, c)
	}
	if !c.ringAll(uaids) { // ended meanwhile
		c.detach(uaids)
	}
}

func (c *conn) least() edition.Urgency {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.urgency
}

func (c *conn) admit(uaids []edition.UAID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	for _, uaid := range uaids {
		c.board.hold(uaid)
	}
	return true
}

// ringAll has UAIDs looked up; one that was lost meanwhile is not. It is false
// when the connection is ending.
func (c *conn) ringAll(uaids []edition.UAID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	for _, uaid := range uaids {
		c.board.ring(uaid)
	}
	return true
}

// pause keeps UPDATEs back until resume, so that they follow an answer. It is
// false when a flush is running: then they follow nothing.
func (c *conn) pause() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	mine := !c.flushing
	c.flushing = true
	return mine
}

// resume ends a pause, if there was one, and sends what there is: for a device
// that holds one UAID at once.
func (c *conn) resume(paused bool) {
	flush, pings := c.resumed(paused)
	c.pong(pings)
	if flush {
		c.flushAlone(false)
	}
}

func (c *conn) resumed(paused bool) (flush bool, pings int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if paused {
		c.flushing = false
		pings, c.pings = c.pings, 0
	}
	return c.flushHere(), pings
}

// pongLater leaves a relay's ping to the flush that is running, if there is one:
// a pong says that every UPDATE went before it that was read before the acks
// before the ping. A device forgets nothing on a pong, and its flush may be run
// by who PUTs, who is not to wait for a slow device.
func (c *conn) pongLater() bool {
	if c.badge == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flushing {
		c.pings++
	}
	return c.flushing
}

// pong answers n pings.
func (c *conn) pong(n int) {
	for range n {
		f := newFrame()
		f.b = append(f.b, `{"type":"pong"}`...)
		err := c.send(websocket.TextMessage, f)
		f.free()
		if err != nil {
			c.end(0, "", reasonWrite)
			return
		}
	}
}

// flushHere is claimFlush for a device that holds one UAID, whose flush ends
// soon. Any other is started in the background. The caller holds mu.
func (c *conn) flushHere() bool {
	if c.board.many == nil {
		return c.claimFlush()
	}
	c.wake()
	return false
}

func (c *conn) detach(uaids []edition.UAID) {
	for _, uaid := range uaids {
		c.s.hub.Detach(edition.Holder{UAID: uaid}, c)
	}
}

func (c *conn) gauge() prometheus.Gauge {
	if c.badge != nil {
		return c.s.m.relays
	}
	return c.s.m.devices
}
