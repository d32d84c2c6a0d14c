package publish

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/edition-push/edition"
)

const (
	// maxLine is the greatest length of a line, in bytes without its end.
	maxLine = 1 << 10
	// maxChunk is the greatest number of lines that are delivered together.
	maxChunk = 1000
	// readAhead is how much of a batch is read at once.
	readAhead = 128 << 10
	// openChunks is how many chunks may wait for their receipts.
	openChunks = 4
)

var (
	errLine    = fmt.Errorf("%w: a line has at most %d bytes", edition.ErrTooLarge, maxLine)
	errIdle    = fmt.Errorf("%w: no line has come for too long", edition.ErrUnavailable)
	errBatches = edition.RetryAfter(fmt.Errorf("%w: too many batches are open", edition.ErrUnavailable), time.Second)
)

// serveBatch takes events a line each and answers a line each, in order, while
// the rest is still coming in. What can be read without waiting is delivered
// together, so that one commit serves many lines. Any Content-Type will do.
func (p *Publisher) serveBatch(w http.ResponseWriter, r *http.Request) {
	if c := r.Header.Get("Content-Encoding"); c != "" && !strings.EqualFold(c, "identity") {
		p.refuse(w, doorBatch, edition.UAID{}, errCoding)
		return
	}
	who, err := p.sender(r.Header)
	if err != nil {
		p.refuse(w, doorBatch, edition.UAID{}, err)
		return
	}
	if p.batches.Add(1) > int64(p.limits.Batches) {
		p.batches.Add(-1)
		p.refuse(w, doorBatch, edition.UAID{}, errBatches)
		return
	}
	defer p.batches.Add(-1)

	// Not the request's own context: net/http ends that with any error of a
	// read, also of one that is only interrupted, while answers are still due.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	defer cancel(nil)
	defer context.AfterFunc(p.stopped, func() { cancel(errDrain) })()
	b := &batch{
		p: p, who: who, rc: http.NewResponseController(w), w: w, ctx: ctx, cancel: cancel,
		in: bufio.NewReaderSize(r.Body, readAhead), chunks: make(chan *chunk, openChunks),
	}
	b.rc.EnableFullDuplex() //nolint:errcheck // HTTP/2 is full duplex as it is
	w.Header()["Content-Type"], w.Header()["Cache-Control"] = typeLines, noStore

	answered := make(chan struct{})
	go func() {
		defer close(answered)
		b.answer()
	}()
	farewell := b.read()
	close(b.chunks)
	<-answered
	if farewell != nil && b.failed == nil {
		b.send(appendFailure(nil, farewell))
	}
	b.rc.SetWriteDeadline(time.Time{}) //nolint:errcheck // net/http resets only the other one
}

// batch is one POST to /v1/events.
type batch struct {
	// Fixed after construction.
	p      *Publisher
	who    KeyHash // that sends, for all lines
	w      http.ResponseWriter
	rc     *http.ResponseController
	ctx    context.Context // ends with Drain and when answers cannot be sent
	cancel context.CancelCauseFunc
	chunks chan *chunk // delivered, from read to answer

	// Owned by read.
	in *bufio.Reader

	// Owned by answer, then by serveBatch.
	failed error
}

// read delivers chunk after chunk until the body ends. It returns what the
// client is to be told after its answers, if anything.
func (b *batch) read() (farewell error) {
	defer b.interruptReads()()
	for {
		c, end := b.readChunk()
		if len(c.lines) > 0 {
			c.deliver(b.p)
			b.chunks <- c // answer always comes to it: each of its steps is bounded in time
		}
		switch {
		case end == nil:
		case errors.Is(end, io.EOF):
			return nil // net/http has cleared the read deadline
		case errors.Is(context.Cause(b.ctx), errDrain):
			return errDrain
		case errors.Is(end, os.ErrDeadlineExceeded) && b.ctx.Err() == nil:
			return errIdle
		default:
			return nil // the client has gone
		}
	}
}

// interruptReads makes a read that waits return when b.ctx ends. The function
// it returns ends that, and returns when nothing touches the request any more.
func (b *batch) interruptReads() (end func()) {
	over := make(chan struct{})
	stop := context.AfterFunc(b.ctx, func() {
		defer close(over)
		b.rc.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // a test's recorder has none
	})
	return func() {
		if !stop() {
			<-over
		}
	}
}

// readChunk reads one line, and then those that are there already.
func (b *batch) readChunk() (c *chunk, end error) {
	c = newChunk(b.p, b.who)
	b.rc.SetReadDeadline(time.Now().Add(b.p.limits.Idle)) //nolint:errcheck // a test's recorder has none
	for len(c.lines) < maxChunk {
		if b.ctx.Err() != nil { // after the deadline was set, see interruptReads
			return c, context.Cause(b.ctx)
		}
		text, err := b.in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			c.add(edition.Event{}, errLine)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = b.in.ReadSlice('\n')
			}
		} else if err == nil || err == io.EOF {
			c.addText(text)
		}
		if err != nil {
			return c, err
		}
		ready, _ := b.in.Peek(b.in.Buffered())
		if bytes.IndexByte(ready, '\n') < 0 {
			break
		}
	}
	return c, nil
}

// answer waits for each chunk's receipt in turn and sends its answers.
func (b *batch) answer() {
	var out []byte
	for c := range b.chunks {
		out = c.answers(out[:0])
		if b.failed == nil {
			b.send(out)
		}
		if b.failed != nil {
			b.cancel(b.failed)
		}
	}
}

// send writes answers through to the client.
func (b *batch) send(out []byte) {
	b.rc.SetWriteDeadline(time.Now().Add(b.p.limits.Idle)) //nolint:errcheck // a test's recorder has none
	if _, err := b.w.Write(out); err != nil {
		b.failed = err
		return
	}
	if err := b.rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		b.failed = err
	}
}
