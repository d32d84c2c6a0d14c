package smpp

import (
	"errors"
	"fmt"
	"time"
)

// unbindWait bounds how long Close waits for the other side.
const unbindWait = 2 * time.Second

// Why a session ends.
var (
	errClosed  = errors.New("closed here")
	errUnbound = errors.New("the other side has unbound")
	errSilent  = errors.New("the other side does not answer enquire_link")
)

// loop is what run owns.
type loop struct {
	*Session
	incoming chan PDU // from the reader; closed when it has ended
	readErr  error    // why, and the header that could not be; read after incoming is closed
	bad      PDU

	sequence uint32
	pending  map[uint32]*call
	order    []*call // of pending, oldest first; those that are over are dropped at the front
	heard    time.Time
	probe    uint32 // sequence_number of the enquire_link that is not answered, or 0
	probeBy  time.Time
}

// run owns the connection: it alone writes, and it alone knows what waits for
// an answer.
func (s *Session) run() {
	l := &loop{
		Session: s, incoming: make(chan PDU, 16),
		sequence: 1, // the bind's
		pending:  make(map[uint32]*call), heard: time.Now(),
	}
	go l.read()
	err := l.serve()
	if errors.Is(err, errClosed) {
		l.unbind()
	}
	s.conn.Close()
	for range l.incoming { // until the reader has ended
	}
	for _, c := range l.order {
		l.finish(c, result{err: fmt.Errorf("%w: %w", ErrEnded, err)})
	}
	s.err = err
	close(s.done)
	s.log.Debug("smpp session ended", "err", err)
}

// read only reads: what a PDU means is the loop's.
func (l *loop) read() {
	defer close(l.incoming)
	for {
		p, err := Read(l.conn)
		if err != nil {
			l.readErr, l.bad = err, p
			return
		}
		l.incoming <- p
	}
}

// serve returns why the session ends.
func (l *loop) serve() error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(time.Until(l.next()))
		submits := l.submits
		if len(l.pending) >= max(1, l.o.Window) {
			submits = nil
		}
		var err error
		select {
		case p, ok := <-l.incoming:
			if !ok {
				return l.lost()
			}
			l.heard = time.Now()
			err = l.take(p)
		case c := <-submits:
			err = l.submit(c)
		case <-timer.C:
			err = l.tick(time.Now())
		case <-l.closing:
			err = errClosed
		}
		if err != nil {
			return err
		}
	}
}

// lost handles the end of reading. After a command_length that cannot be,
// nothing that follows could be understood: section 4.3.1 has it told.
func (l *loop) lost() error {
	if errors.Is(l.readErr, ErrLength) {
		_ = l.send(PDU{Command: GenericNack, Status: InvCmdLen, Sequence: l.bad.Sequence}) // it ends anyway
	}
	return fmt.Errorf("the connection is lost: %w", l.readErr)
}

// send writes a PDU. A side that does not read is given up after a time.
func (l *loop) send(p PDU) error {
	if err := l.conn.SetWriteDeadline(time.Now().Add(l.o.Timeout)); err != nil {
		return err
	}
	return l.write(p)
}

// number returns the next sequence_number that is not in use (section 5.1.4:
// 1 to 0x7fffffff).
func (l *loop) number() uint32 {
	for {
		l.sequence = l.sequence%maxSequence + 1
		if l.pending[l.sequence] == nil && l.sequence != l.probe {
			return l.sequence
		}
	}
}

func (l *loop) submit(c *call) error {
	c.sequence, c.by = l.number(), time.Now().Add(l.o.Timeout)
	l.pending[c.sequence] = c
	l.order = append(l.order, c)
	return l.send(PDU{Command: SubmitSM, Sequence: c.sequence, Body: c.body})
}

// finish gives a call its result, once.
func (l *loop) finish(c *call, r result) {
	if c.over {
		return
	}
	c.over = true
	delete(l.pending, c.sequence)
	c.reply <- r
}

// oldest returns the call that has waited longest, or nil.
func (l *loop) oldest() *call {
	for len(l.order) > 0 && l.order[0].over {
		l.order[0] = nil
		l.order = l.order[1:]
	}
	if len(l.order) == 0 {
		return nil
	}
	return l.order[0]
}

// next returns when tick has something to do.
func (l *loop) next() time.Time {
	if l.probe != 0 {
		return l.probeBy
	}
	at := l.heard.Add(l.o.Enquire)
	if c := l.oldest(); c != nil && c.by.Before(at) {
		at = c.by
	}
	return at
}

// tick asks whether the other side is there when it has been silent, or when
// an answer is late: one message that is not answered may be that message's
// fault, an enquire_link that is not answered is the other side's.
func (l *loop) tick(now time.Time) error {
	switch {
	case now.Before(l.next()):
		return nil
	case l.probe != 0:
		return errSilent
	}
	l.probe, l.probeBy = l.number(), now.Add(l.o.Timeout)
	return l.send(PDU{Command: EnquireLink, Sequence: l.probe})
}

// take handles what the other side sends.
func (l *loop) take(p PDU) error {
	switch p.Command {
	case SubmitSM.Resp(), GenericNack, EnquireLink.Resp():
		return l.answered(p)
	case DeliverSM:
		return l.deliver(p)
	case EnquireLink:
		return l.send(PDU{Command: EnquireLink.Resp(), Sequence: p.Sequence})
	case Unbind:
		if err := l.send(PDU{Command: Unbind.Resp(), Sequence: p.Sequence}); err != nil {
			return err
		}
		return errUnbound
	case AlertNotify: // has no answer (section 4.12.1)
		return nil
	}
	if p.Command.IsResp() {
		return nil // to a question of an earlier time
	}
	return l.send(PDU{Command: GenericNack, Status: InvCmdID, Sequence: p.Sequence})
}

// answered handles an answer. One that belongs to nothing that waits is
// passed over: it may be late.
func (l *loop) answered(p PDU) error {
	if p.Sequence == l.probe && l.probe != 0 && p.Command != SubmitSM.Resp() {
		// Any answer to it is a sign of life, also "I do not know that".
		l.probe = 0
		for c := l.oldest(); c != nil && !time.Now().Before(c.by); c = l.oldest() {
			l.finish(c, result{err: ErrNoAnswer})
		}
		return nil
	}
	c := l.pending[p.Sequence]
	if c == nil || p.Command == EnquireLink.Resp() {
		l.log.Debug("smpp answer to nothing", "command", p.Command.String(), "sequence", p.Sequence)
		return nil
	}
	if p.Status != OK || p.Command == GenericNack {
		l.finish(c, result{err: &StatusError{SubmitSM, p.Status}})
		return nil
	}
	a, err := ParseAnswer(p.Body)
	if err != nil {
		// It was accepted all the same: some leave out the NUL.
		l.log.Debug("smpp answer without a message_id", "err", err)
	}
	l.finish(c, result{id: a.ID})
	return nil
}

// deliver takes a message or a receipt.
func (l *loop) deliver(p PDU) error {
	status := OK
	m, err := ParseMessage(p.Body)
	switch {
	case err != nil:
		l.log.Debug("smpp deliver_sm cannot be read", "err", err)
		status = InvMsgLen
	case l.o.Deliver != nil:
		l.o.Deliver(m)
	}
	// message_id is unused and a NUL (section 4.6.2).
	return l.send(PDU{Command: DeliverSM.Resp(), Status: status, Sequence: p.Sequence, Body: []byte{0}})
}

// unbind says goodbye and waits a moment for the answer.
func (l *loop) unbind() {
	wait := time.NewTimer(min(l.o.Timeout, unbindWait))
	defer wait.Stop()
	mine := l.number()
	if l.send(PDU{Command: Unbind, Sequence: mine}) != nil {
		return
	}
	for {
		select {
		case p, ok := <-l.incoming:
			if !ok || p.Sequence == mine && p.Command.IsResp() || l.take(p) != nil {
				return
			}
		case <-wait.C:
			return
		}
	}
}
