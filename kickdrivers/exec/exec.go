// Package exec is the kick driver that runs the operator's own program, once
// for each kick, with the kick as JSON on its standard input.
//
// It promises that no shell is involved, that nothing a device wrote reaches
// the program but by standard input, that no more programs run at once than
// the operator allows, and that none outlives its time: the whole process
// group is killed (on Windows the program alone). It does not read what the
// program says, but for its exit code. README.md has the configuration.
package exec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	osexec "os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
)

// Driver runs programs. Make one with New.
type Driver struct {
	// Fixed after construction.
	program string
	args    []string
	dir     string
	env     []string
	allow   *regexp.Regexp
	timeout time.Duration
	log     *slog.Logger

	places chan struct{} // one for each process that runs
}

// New returns the driver. Faults of the configuration are edition.ErrConfig.
func New(c Config, env driver.Env) (*Driver, error) {
	made, faults := c.compile()
	if len(faults) > 0 {
		return nil, fmt.Errorf("%w: %w", edition.ErrConfig, errors.Join(faults...))
	}
	return &Driver{
		program: c.Program, args: c.Args, dir: made.dir, env: made.env, allow: made.allow,
		timeout: c.Timeout, log: env.Logger(), places: make(chan struct{}, c.Processes),
	}, nil
}

// target is what a device registers and what is stored.
type target struct {
	To string `json:"to"`
}

// maxTo is the greatest length of what a device names, in bytes.
const maxTo = 256

func parse(raw json.RawMessage) (target, error) {
	var t target
	if err := json.Unmarshal(raw, &t); err != nil {
		return t, fmt.Errorf(`%w: the target is not an object such as {"to":"lamp-7"}`, edition.ErrMalformed)
	}
	if t.To == "" || len(t.To) > maxTo {
		return t, fmt.Errorf("%w: to is not 1 to %d bytes of text", edition.ErrMalformed, maxTo)
	}
	return t, nil
}

func (d *Driver) check(t target) error {
	if !d.allow.MatchString(t.To) {
		return fmt.Errorf("%w: to does not match the pattern that the configuration allows", edition.ErrForbidden)
	}
	return nil
}

// Check accepts {"to":"…"}: 1 to 256 bytes that match the allowed pattern.
func (d *Driver) Check(raw json.RawMessage, _ netip.Addr, _ int) (json.RawMessage, error) {
	t, err := parse(raw)
	if err == nil {
		err = d.check(t)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(t)
}

// Aim is what the device has named.
func (d *Driver) Aim(raw json.RawMessage) string {
	t, err := parse(raw)
	if err != nil {
		return ""
	}
	return t.To
}

// input is what the program reads.
type input struct {
	To      string `json:"to"`
	Confirm string `json:"confirm,omitempty"`
}

func (d *Driver) input(k driver.Kick) ([]byte, error) {
	t, err := parse(k.Target)
	if err != nil {
		return nil, fmt.Errorf("%w: the stored target cannot be read: %w", edition.ErrGone, err)
	}
	if err := d.check(t); err != nil {
		return nil, err
	}
	b, err := json.Marshal(input{To: t.To, Confirm: k.Confirm})
	return append(b, '\n'), err
}

// Show returns the command and its standard input. Of the environment it shows
// the names.
func (d *Driver) Show(k driver.Kick) (string, error) {
	in, err := d.input(k)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "run %q", d.program)
	for _, a := range d.args {
		fmt.Fprintf(&out, " %q", a)
	}
	fmt.Fprintf(&out, "\nin %s\nenvironment", d.dir)
	for _, v := range d.env {
		name, _, _ := strings.Cut(v, "=")
		out.WriteString(" " + name)
	}
	fmt.Fprintf(&out, "\nstandard input %s", in)
	return out.String(), nil
}

// Kick runs the program for each kick, as many at once as there are places.
func (d *Driver) Kick(ctx context.Context, kicks []driver.Kick, errs []error) {
	var wg sync.WaitGroup
	for i, k := range kicks {
		in, err := d.input(k)
		if err != nil {
			errs[i] = err
			continue
		}
		select {
		case d.places <- struct{}{}:
		case <-ctx.Done():
			errs[i] = context.Cause(ctx)
			continue
		}
		wg.Go(func() {
			errs[i] = d.run(ctx, in)
			<-d.places
		})
	}
	wg.Wait()
}

// drain is how long a program's standard error is awaited after its end: a
// child that it has left behind may hold it open.
const drain = 500 * time.Millisecond

func (d *Driver) run(ctx context.Context, in []byte) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	cmd := osexec.CommandContext(limited, d.program, d.args...)
	cmd.Dir, cmd.Env = d.dir, d.env
	cmd.Stdin = bytes.NewReader(in)
	var last tail
	cmd.Stderr = &last
	cmd.WaitDelay = drain
	group(cmd)
	if err := cmd.Start(); err != nil {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case limited.Err() != nil: // this machine has much to do; the program is not to blame
			return fmt.Errorf("the program was not started within %v", d.timeout)
		}
		return fmt.Errorf("%w: the program cannot be started: %w", edition.ErrUnavailable, cause(err))
	}
	err := cmd.Wait()
	if line := last.line(); line != "" {
		d.log.Debug("the kick program wrote to standard error", "pid", cmd.Process.Pid, "line", line)
	}
	switch {
	case err == nil || errors.Is(err, osexec.ErrWaitDelay):
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case limited.Err() != nil:
		return fmt.Errorf("the program was killed after %v", d.timeout)
	}
	return outcome(err)
}

// The exit codes that mean something, from sysexits.h of BSD.
const (
	exitDataErr     = 65 // this target makes no sense
	exitNoUser      = 67 // nobody is there any more
	exitUnavailable = 69 // the program's own provider failed
	exitTempFail    = 75 // held back, try later
	exitNoPerm      = 77 // this target is not allowed
)

// outcome is the error for a run that has failed.
func outcome(err error) error {
	exit := (*osexec.ExitError)(nil)
	if !errors.As(err, &exit) {
		return fmt.Errorf("the program: %w", err)
	}
	code := exit.ExitCode()
	kind := map[int]error{
		exitDataErr:     edition.ErrForbidden,
		exitNoUser:      edition.ErrGone,
		exitUnavailable: edition.ErrUnavailable,
		exitTempFail:    edition.ErrTooMany,
		exitNoPerm:      edition.ErrForbidden,
	}[code]
	switch {
	case kind != nil:
		return fmt.Errorf("%w: the program ended with code %d", kind, code)
	case code < 0:
		return fmt.Errorf("the program was ended by others: %s", exit.ProcessState)
	}
	return fmt.Errorf("the program ended with code %d", code)
}

// Close does nothing: no program runs when no Kick does.
func (d *Driver) Close() error { return nil }
