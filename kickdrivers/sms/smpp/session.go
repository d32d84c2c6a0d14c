package smpp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Options of a session.
type Options struct {
	Bind Bind
	// Receive binds as a transceiver: receipts come over this connection.
	// Without it the bind is that of a transmitter.
	Receive bool
	// Window is how many submit_sm may be unanswered, at least 1.
	Window int
	// Timeout is how long an answer may take.
	Timeout time.Duration
	// Enquire is how long the other side may be silent before it is asked
	// whether it is there.
	Enquire time.Duration
	// Deliver, if not nil, is called for each deliver_sm, one at a time. It
	// must not block.
	Deliver func(Message)
	Log     *slog.Logger // nil: silent
}

var (
	// ErrEnded is a session that has ended. What was submitted may have
	// arrived.
	ErrEnded = errors.New("smpp: the session has ended")
	// ErrNotSent is a session that had ended before anything was sent. It
	// wraps ErrEnded.
	ErrNotSent = fmt.Errorf("%w before the message was sent", ErrEnded)
	// ErrNoAnswer is a submit_sm that was not answered in time though the
	// other side is there.
	ErrNoAnswer = errors.New("smpp: submit_sm: no answer")
)

// Session is one bound connection. Make one with Open. Its methods may be
// called at once from many goroutines.
type Session struct {
	// Fixed after construction.
	conn    net.Conn
	o       Options
	log     *slog.Logger
	submits chan *call
	done    chan struct{} // closed when run has ended
	closing chan struct{} // closed by Close
	once    sync.Once

	err error // why it ended; written before done is closed
}

// call is one submit_sm on its way.
type call struct {
	body  []byte
	reply chan result // of capacity 1: gets exactly one

	// Owned by run.
	sequence uint32
	by       time.Time
	over     bool // answered
}

type result struct {
	id  string
	err error
}

// Open binds over a connection, which is the session's from then on, also
// when that fails. An answer that says no is a *StatusError.
func Open(ctx context.Context, conn net.Conn, o Options) (*Session, error) {
	s := &Session{
		conn: conn, o: o, log: o.Log,
		submits: make(chan *call), done: make(chan struct{}), closing: make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err := s.bind()
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	go s.run()
	return s, nil
}

// bind asks for the bind and waits for its answer. The other side may ask for
// signs of life before (section 2.2.1 lets it send outbind too).
func (s *Session) bind() error {
	if err := s.conn.SetDeadline(time.Now().Add(s.o.Timeout)); err != nil {
		return err
	}
	body, err := s.o.Bind.Body()
	if err != nil {
		return err
	}
	ask := PDU{Command: BindTransmitter, Sequence: 1, Body: body}
	if s.o.Receive {
		ask.Command = BindTransceiver
	}
	if err := s.write(ask); err != nil {
		return err
	}
	for range 16 {
		p, err := Read(s.conn)
		if err != nil {
			return fmt.Errorf("smpp: %v: %w", ask.Command, err)
		}
		switch {
		case p.Sequence == 1 && (p.Command == ask.Command.Resp() || p.Command == GenericNack):
			if p.Status != OK || p.Command == GenericNack {
				return &StatusError{ask.Command, p.Status}
			}
			return s.conn.SetDeadline(time.Time{})
		case p.Command == EnquireLink:
			if err := s.write(PDU{Command: EnquireLink.Resp(), Sequence: p.Sequence}); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("smpp: %v: the other side talks of something else", ask.Command)
}

func (s *Session) write(p PDU) error {
	_, err := s.conn.Write(p.AppendTo(make([]byte, 0, HeaderLength+len(p.Body))))
	return err
}

// Submit hands in one message and returns its message_id. It waits while the
// window is full. The error is a *StatusError, ErrNoAnswer, ErrEnded,
// ErrNotSent, ctx's, or about a field that is too long.
func (s *Session) Submit(ctx context.Context, m *Message) (id string, err error) {
	body, err := m.Body()
	if err != nil {
		return "", err
	}
	c := &call{body: body, reply: make(chan result, 1)}
	select {
	case s.submits <- c:
	case <-s.done:
		return "", fmt.Errorf("%w: %w", ErrNotSent, s.err)
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	select {
	case r := <-c.reply:
		return r.id, r.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// Done is closed when the session has ended; Err says why.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns why the session has ended, nil while it has not.
func (s *Session) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Close unbinds, waits a moment for the answer, and closes the connection.
// Nothing of the session is left when it returns.
func (s *Session) Close() {
	s.once.Do(func() { close(s.closing) })
	<-s.done
}
