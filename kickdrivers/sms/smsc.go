package sms

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/sms/smpp"
)

// link is the way to an SMSC: one session at a time, bound when it is needed.
type link struct {
	// Fixed after construction.
	c         Config
	addresses []address
	tls       *tls.Config
	options   smpp.Options
	log       *slog.Logger
	ctx       context.Context // ends with close
	cancel    context.CancelFunc
	binds     sync.WaitGroup

	mu      sync.Mutex
	session *smpp.Session // Guarded by mu; nil, bound, or ended
	binding *binding      // Guarded by mu; nil when none is under way
	first   int           // Guarded by mu: the address that could be bound last
}

// binding is an attempt to bind that all who need it share.
type binding struct {
	done    chan struct{}
	session *smpp.Session // written before done is closed
	err     error
}

func newLink(c Config, env driver.Env) (*link, error) {
	password, err := c.SMPP.Password.Read()
	if err != nil {
		return nil, err
	}
	conf, err := c.SMPP.TLS.Config()
	if err != nil {
		return nil, err
	}
	l := &link{c: c, tls: conf, log: env.Logger()}
	for _, s := range c.SMPP.Addresses {
		a, err := parseAddress(s)
		if err != nil {
			return nil, err
		}
		l.addresses = append(l.addresses, a)
	}
	l.options = smpp.Options{
		Bind: smpp.Bind{
			SystemID: c.SMPP.SystemID, Password: string(password),
			SystemType: c.SMPP.SystemType, Version: smpp.Version,
		},
		Receive: c.SMPP.Receipts, Window: c.SMPP.Window,
		Timeout: c.Timeout, Enquire: c.SMPP.EnquireLink, Log: l.log,
		Deliver: func(m smpp.Message) {
			if r, ok := m.Receipt(); ok {
				env.Count(r.State)
			}
		},
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l, nil
}

// bound returns the session, binding it if there is none.
func (l *link) bound(ctx context.Context) (*smpp.Session, error) {
	l.mu.Lock()
	if l.session != nil && l.session.Err() == nil {
		defer l.mu.Unlock()
		return l.session, nil
	}
	b := l.binding
	if b == nil {
		b = &binding{done: make(chan struct{})}
		l.binding = b
		first := l.first
		l.binds.Go(func() { l.bind(b, first) })
	}
	l.mu.Unlock()
	select {
	case <-b.done:
		return b.session, b.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// bind tries one address after the other, beginning with first.
func (l *link) bind(b *binding, first int) {
	var faults []error
	at := first
	for i := range l.addresses {
		at = (first + i) % len(l.addresses)
		s, err := l.open(l.addresses[at])
		if err == nil {
			l.log.Info("smsc bound", "address", l.addresses[at].host)
			b.session = s
			break
		}
		faults = append(faults, fmt.Errorf("%s: %w", l.addresses[at].host, err))
		if l.ctx.Err() != nil {
			break
		}
	}
	if b.session == nil {
		b.err = fmt.Errorf("%w: cannot bind: %w", edition.ErrUnavailable, errors.Join(faults...))
	}
	l.mu.Lock()
	l.binding = nil
	if b.session != nil {
		l.session, l.first = b.session, at
	}
	l.mu.Unlock()
	close(b.done)
}

// open connects and binds.
func (l *link) open(a address) (*smpp.Session, error) {
	ctx, cancel := context.WithTimeout(l.ctx, l.c.SMPP.BindTimeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", a.host)
	if err != nil {
		return nil, err
	}
	if a.tls {
		conf := l.tls.Clone()
		if conf.ServerName == "" {
			conf.ServerName, _, _ = net.SplitHostPort(a.host)
		}
		secure := tls.Client(conn, conf)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		conn = secure
	}
	return smpp.Open(ctx, conn, l.options)
}

// send submits one message. A session that had ended before anything was sent
// is replaced once.
func (l *link) send(ctx context.Context, number string, m message) error {
	sm := l.submit(number, m)
	for again := false; ; again = true {
		s, err := l.bound(ctx)
		if err != nil {
			return err
		}
		if _, err = s.Submit(ctx, sm); again || !errors.Is(err, smpp.ErrNotSent) {
			return l.outcome(s, err)
		}
	}
}

// submit fills a submit_sm.
func (l *link) submit(number string, m message) *smpp.Message {
	ton, npi, from := l.c.sender()
	if l.c.SMPP.SourceTON >= 0 {
		ton = byte(l.c.SMPP.SourceTON)
	}
	if l.c.SMPP.SourceNPI >= 0 {
		npi = byte(l.c.SMPP.SourceNPI)
	}
	sm := &smpp.Message{
		ServiceType: l.c.SMPP.ServiceType,
		Source:      smpp.Address{TON: ton, NPI: npi, Addr: from},
		Dest:        smpp.Address{TON: byte(l.c.SMPP.DestTON), NPI: byte(l.c.SMPP.DestNPI), Addr: strings.TrimPrefix(number, "+")},
		ProtocolID:  byte(l.c.ProtocolID),
		Priority:    byte(l.c.Priority),
		Validity:    relative(l.c.Validity),
		DataCoding:  m.coding,
		Text:        m.octets(),
	}
	if m.header != nil {
		sm.ESMClass = smpp.ESMUDHI
	}
	if l.c.SMPP.Receipts {
		sm.Registered = smpp.WantReceipt
	}
	if l.c.SMPP.Replace {
		sm.Replace = 1
	}
	return sm
}

// relative writes a duration as validity_period (section 7.1.1.2); 0 is the
// SMSC's default.
func relative(d time.Duration) string {
	if d == 0 {
		return ""
	}
	s := int(d.Seconds())
	return fmt.Sprintf("0000%02d%02d%02d%02d000R", s/86400, s/3600%24, s/60%60, s%60)
}

// outcome turns what became of a submit_sm into the errors of driver.Driver.
// README.md has the table.
func (l *link) outcome(s *smpp.Session, err error) error {
	no, ok := errors.AsType[*smpp.StatusError](err)
	if !ok {
		if errors.Is(err, smpp.ErrEnded) {
			return fmt.Errorf("%w: %w", edition.ErrUnavailable, err)
		}
		return err
	}
	switch no.Status {
	case smpp.Throttled:
		return throttledError{edition.RetryAfter(fmt.Errorf("%w: %w", edition.ErrTooMany, err), l.c.RetryAfter)}
	case smpp.MsgQueueFull: // with many, the queue of that one number
		return edition.RetryAfter(fmt.Errorf("%w: %w", edition.ErrTooMany, err), l.c.RetryAfter)
	case smpp.InvBindStatus:
		l.binds.Go(s.Close) // it is not what the SMSC takes it for
		return fmt.Errorf("%w: %w", edition.ErrUnavailable, err)
	case smpp.InvDest:
		return fmt.Errorf("%w: %w", edition.ErrGone, err)
	case smpp.InvMsgLen, smpp.InvSource, smpp.InvServiceType, smpp.InvESMClass, smpp.InvSourceTON, smpp.InvSourceNPI,
		smpp.InvDestTON, smpp.InvDestNPI, smpp.InvSchedule, smpp.InvExpiry, smpp.PermAppError, smpp.RejectAppError:
		return fmt.Errorf("%w: %w", edition.ErrForbidden, err)
	}
	return err
}

func (l *link) show(number string, m message) string {
	sm := l.submit(number, m)
	var out strings.Builder
	fmt.Fprintf(&out, "submit_sm to %s at %s\n", number, strings.Join(l.c.SMPP.Addresses, ", "))
	fmt.Fprintf(&out, "source_addr %q ton %d npi %d\n", sm.Source.Addr, sm.Source.TON, sm.Source.NPI)
	fmt.Fprintf(&out, "destination_addr %q ton %d npi %d\n", sm.Dest.Addr, sm.Dest.TON, sm.Dest.NPI)
	fmt.Fprintf(&out, "esm_class 0x%02x data_coding 0x%02x protocol_id %d validity_period %q registered_delivery %d replace_if_present_flag %d\n",
		sm.ESMClass, sm.DataCoding, sm.ProtocolID, sm.Validity, sm.Registered, sm.Replace)
	fmt.Fprintf(&out, "short_message %x (%d octets)\n", sm.Text, len(sm.Text))
	if m.text != "" {
		fmt.Fprintf(&out, "text %q\n", m.text)
	}
	if m.code != "" {
		fmt.Fprintf(&out, "code %s\n", m.code)
	}
	return out.String()
}

// close unbinds. No send runs by then.
func (l *link) close() {
	l.cancel()
	l.binds.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != nil {
		l.session.Close()
	}
}
