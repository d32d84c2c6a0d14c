package firefox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// ErrNotInstalled says that Firefox was not found.
var ErrNotInstalled = errors.New("Firefox is not installed") //nolint:staticcheck // a name

// Options say how a browser runs.
type Options struct {
	// Profile is the folder for all that the browser keeps; it is made when
	// absent. A browser that starts with the same one is the same device.
	Profile string
	// PushServer is where the browser connects as a device: a ws:// URL on
	// loopback, or wss://.
	PushServer string
	// Output gets what the browser says about itself, push included; nil is
	// nowhere.
	Output io.Writer
}

// Browser is a running Firefox with one tab. Its methods are for one goroutine.
type Browser struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed once the process has ended
	err   error         // of the process; to be read after ended

	bidi *bidi
	tab  string
}

// Names of the program, the first that is there is taken: Debian's extended
// support release, then everybody's.
var programs = []string{"firefox-esr", "firefox"}

// Find looks Firefox up in the PATH; ErrNotInstalled.
func Find() (string, error) {
	for _, name := range programs {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: no %s in the PATH", ErrNotInstalled, strings.Join(programs, " or "))
}

const (
	attempts     = 3               // of a start
	startTimeout = 3 * time.Minute // of one of them
	quitTimeout  = 3 * time.Minute // until it is killed
)

// Start starts Firefox and waits until it can be used. A browser that does not
// come up is ended and started again, a few times.
func Start(ctx context.Context, o Options) (*Browser, error) {
	program, err := Find()
	if err != nil {
		return nil, err
	}
	if o.Output == nil {
		o.Output = io.Discard
	}
	if o.Profile, err = filepath.Abs(o.Profile); err != nil {
		return nil, err
	}
	if err := writeProfile(o.Profile, o.PushServer); err != nil {
		return nil, err
	}
	for i := range attempts {
		var b *Browser
		if b, err = start(ctx, program, o); err == nil {
			return b, nil
		}
		if ctx.Err() != nil {
			break
		}
		fmt.Fprintf(o.Output, "start %d failed: %v\n", i+1, err) //nolint:errcheck // a log
	}
	return nil, fmt.Errorf("Firefox did not start: %w", err) //nolint:staticcheck // a name
}

func start(ctx context.Context, program string, o Options) (_ *Browser, err error) {
	home := filepath.Join(o.Profile, homeDir)
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program,
		"--headless", "--no-remote", "--profile", o.Profile, "--remote-debugging-port", "0")
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home, "XDG_DATA_HOME="+home,
		"XDG_RUNTIME_DIR="+home, "TMPDIR="+home, "DBUS_SESSION_BUS_ADDRESS=disabled:",
		"MOZ_CRASHREPORTER_DISABLE=1", "MOZ_DISABLE_AUTO_SAFE_MODE=1", "MOZ_REMOTE_SETTINGS_DEVTOOLS=1")
	ownGroup(cmd)
	said, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = out, out
	b := &Browser{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The browser is to end with its parent, which for the system is this
		// thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(b.ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			b.err = cmd.Wait()
		}
	}()
	err = <-started
	out.Close()
	if err != nil {
		said.Close()
		return nil, err
	}
	address := make(chan string, 1)
	go func() {
		defer said.Close()
		watch(said, o.Output, address)
	}()
	defer func() {
		if err != nil {
			b.kill()
		}
	}()

	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errTooSlow)
	defer cancel()
	select {
	case at := <-address:
		if b.bidi, err = dialBiDi(ctx, at); err != nil {
			return nil, err
		}
	case <-b.ended:
		return nil, fmt.Errorf("it ended at once: %v", b.err) //nolint:errorlint // nil is possible
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	b.tab, err = b.bidi.firstTab(ctx)
	return b, err
}

var errTooSlow = fmt.Errorf("it was not there after %v", startTimeout)

// watch copies what the browser says until all its processes have ended, and
// finds in it where WebDriver BiDi listens.
func watch(said io.Reader, output io.Writer, address chan<- string) {
	r := bufio.NewReader(said)
	for {
		line, err := r.ReadString('\n')
		io.WriteString(output, line) //nolint:errcheck // a log
		if _, at, ok := strings.Cut(line, "WebDriver BiDi listening on "); ok {
			select {
			case address <- strings.TrimSpace(at):
			default:
			}
		}
		if err != nil {
			return
		}
	}
}

// Open opens a page in the tab and waits until it is loaded.
func (b *Browser) Open(ctx context.Context, url string) error {
	return b.bidi.call(ctx, "browsingContext.navigate", map[string]any{"context": b.tab, "url": url, "wait": "complete"}, nil)
}

// Eval runs a JavaScript expression in the page, as if after a click, waits
// for its promise, and decodes the value into what into points to, unless that
// is nil: what is true of JSON is true of it.
func (b *Browser) Eval(ctx context.Context, expression string, into any) error {
	return b.bidi.evaluate(ctx, b.tab, expression, into)
}

// Close asks the browser to quit, as a person does, and ends it if it does not
// within three minutes. What was subscribed stays subscribed.
func (b *Browser) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), quitTimeout)
	defer cancel()
	err := b.bidi.call(ctx, "browser.close", map[string]any{}, nil)
	if hungUp := errors.Is(err, errHungUp); err == nil || hungUp {
		select {
		case <-b.ended:
			if hungUp { // it was faster than its answer, or it crashed
				err = b.err
			}
		case <-ctx.Done():
			err = errors.New("Firefox did not quit") //nolint:staticcheck // a name
		}
	}
	b.kill()
	return err
}

// kill ends what is left of the browser's processes.
func (b *Browser) kill() {
	if b.bidi != nil {
		b.bidi.conn.Close()
	}
	killGroup(b.cmd)
	<-b.ended
}
