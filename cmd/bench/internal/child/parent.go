// Package child runs the servers that are measured, and the bare references,
// as processes of the same binary, so that their CPU time and memory can be
// told apart from those of the load generator. A child ends with its parent,
// however that ends. It measures nothing by itself.
package child

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a child as its parent sees it. Its methods are for one goroutine.
type Process struct {
	name    string
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	answers *bufio.Reader // the child's control answers, a line each
	control *os.File
	said    *tail

	exited  chan struct{}
	exitErr error // set before exited is closed
}

// stopTime is how long a child may take to stop: a store may have to fold.
const stopTime = 2 * time.Minute

// lastWords is how long a child may take to end that says nothing more.
const lastWords = time.Minute

// Start runs this binary with args, which must end up in Serve, and env added
// to the environment. The child is killed when ctx ends; stop it with Stop.
func Start(ctx context.Context, name string, env, args []string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	p := &Process{name: name, control: r, answers: bufio.NewReader(r), said: &tail{}, exited: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, self, args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	p.cmd.ExtraFiles = []*os.File{w} // file 3 of the child
	if p.stdin, err = p.cmd.StdinPipe(); err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.exitErr = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// Exited is closed when the child has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Failure describes a child that ended by itself, with its last lines.
func (p *Process) Failure() error {
	return fmt.Errorf("%s ended early (%w); it said:\n%s", p.name, orEOF(p.exitErr), p.said)
}

func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// Address returns what the child announced.
func (p *Process) Address() (string, error) { return p.answer() }

func (p *Process) answer() (string, error) {
	line, err := p.answers.ReadString('\n')
	if err != nil {
		select {
		case <-p.exited:
			return "", p.Failure()
		case <-time.After(lastWords):
			return "", fmt.Errorf("%s: %w", p.name, err)
		}
	}
	line = strings.TrimSuffix(line, "\n")
	if msg, failed := strings.CutPrefix(line, "error "); failed {
		return "", fmt.Errorf("%s: %s", p.name, msg)
	}
	return line, nil
}

func (p *Process) ask(command string) (string, error) {
	if _, err := io.WriteString(p.stdin, command+"\n"); err != nil {
		return "", fmt.Errorf("%s: %w", p.name, err)
	}
	return p.answer()
}

// Usage returns what the child has used until now.
func (p *Process) Usage() (u Usage, err error) {
	line, err := p.ask("usage")
	if err == nil {
		err = json.Unmarshal([]byte(line), &u)
	}
	return u, err
}

// Settle makes the child collect garbage and give free memory back.
func (p *Process) Settle() error {
	_, err := p.ask("settle")
	return err
}

// Profile starts a CPU profile of the child into a file; StopProfile ends it.
func (p *Process) Profile(path string) error {
	_, err := p.ask("profile " + path)
	return err
}

// StopProfile ends the CPU profile, if one runs.
func (p *Process) StopProfile() error {
	_, err := p.ask("profile")
	return err
}

// Do asks the child to do what it was started for with one argument, and
// returns its answer. Not every child can.
func (p *Process) Do(arg string) (string, error) { return p.ask("do " + arg) }

// Stop lets the child stop as it likes to, and returns the CPU time of its
// whole life. It may be called again.
func (p *Process) Stop() (time.Duration, error) {
	p.stdin.Close()
	defer p.control.Close()
	var err error
	select {
	case <-p.exited:
		err = p.exitErr
	case <-time.After(stopTime):
		err = errors.Join(fmt.Errorf("%s did not stop in %v", p.name, stopTime), p.cmd.Process.Signal(syscall.SIGKILL))
		<-p.exited
	}
	cpu := p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	if err != nil {
		return cpu, fmt.Errorf("%s: %w; it said:\n%s", p.name, err, p.said)
	}
	return cpu, nil
}

// tail keeps the last lines of a child's output for an error message.
type tail struct {
	mu  sync.Mutex
	buf []byte // Guarded by mu.
}

const tailSize = 2 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if len(t.buf) > 2*tailSize {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-tailSize:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return "  " + strings.ReplaceAll(string(bytes.TrimSpace(t.buf)), "\n", "\n  ")
}
