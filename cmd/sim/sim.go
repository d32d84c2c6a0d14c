// Package sim is `edition sim`: what kick drivers speak to, on this machine, so
// that each can be tried offline.
//
// It promises that what it prints can be used as it stands. It wakes nobody.
package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/edition-push/edition/cmd/internal/peers"
)

// Command is `edition sim`, with a command for each peer.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Be what a kick driver speaks to: a push service, a broker, an SMSC …",
		Long: `Starts a simulator on this machine that speaks the real protocol, checks what it
is sent as strictly as the real one, and prints a line for each push. It writes
the files that a driver needs (keys, certificates, passwords), made anew each
time, and an entry of kicks that leads to it.`,
		Example: `  edition sim apns
  edition sim smpp --listen 127.0.0.1:2775 --dir /tmp/smsc
  edition sim fcm --answer gone`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, k := range peers.Kinds() {
		cmd.AddCommand(command(k))
	}
	return cmd
}

// run is one simulator that is started.
type run struct {
	kind   peers.Kind
	dir    string
	listen string
	answer string
	count  int
	log    bool
}

func command(k peers.Kind) *cobra.Command {
	r := run{kind: k}
	cmd := &cobra.Command{
		Use:     k.Name,
		Short:   "Be " + k.What,
		Long:    "Be " + k.What + ", for the driver " + k.Driver + "." + answers(k),
		Example: fmt.Sprintf("  edition sim %s --dir /tmp/%s\n  edition kick test --config /tmp/%s/kicks.yaml --driver %s --to TARGET", k.Name, k.Name, k.Name, k.Driver),
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	s := cmd.Flags()
	s.StringVar(&r.listen, "listen", "127.0.0.1:0", "`address` to listen on; port 0 takes a free one")
	s.StringVar(&r.dir, "dir", "sim-"+k.Name, "`folder` for keys, certificates and kicks.yaml")
	if len(k.Answers) > 0 {
		s.StringVar(&r.answer, "answer", "", "`word` for how pushes are answered (see above); accepted unless said")
	}
	s.IntVar(&r.count, "count", 0, "exit after this many pushes; 0 goes on")
	s.BoolVarP(&r.log, "verbose", "v", false, "log what the simulator does, to standard error")
	return cmd
}

func answers(k peers.Kind) string {
	if len(k.Answers) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\n\nWords for --answer:\n\n")
	for _, word := range slices.Sorted(maps.Keys(k.Answers)) {
		fmt.Fprintf(&b, "  %-12s %s\n", word, k.Answers[word])
	}
	return strings.TrimRight(b.String(), "\n")
}

// lastAnswer is how long the answer to the last push has to leave.
const lastAnswer = 500 * time.Millisecond

// run simulates until ctx ends or count pushes were accepted.
func (r *run) run(ctx context.Context, out, errs io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	log := slog.New(slog.DiscardHandler)
	if r.log {
		log = slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	lines := newLines(out, r.count, func() { time.AfterFunc(lastAnswer, cancel) })
	dir, err := filepath.Abs(r.dir)
	if err != nil {
		return err
	}
	p, err := r.kind.Start(peers.Options{Addr: r.listen, Dir: dir, Answer: r.answer, Log: log, OnPush: lines.push})
	if err != nil {
		return err
	}
	if err := r.greet(out, p, dir); err != nil {
		p.Close() //nolint:errcheck // the first error says more
		return err
	}
	lines.open()
	<-ctx.Done()
	return p.Close()
}

// greet prints how to point a driver at the peer.
func (r *run) greet(out io.Writer, p *peers.Peer, dir string) error {
	file := filepath.Join(dir, "kicks.yaml")
	var entry strings.Builder
	e := yaml.NewEncoder(&entry)
	e.SetIndent(2)
	if err := e.Encode(map[string]any{"kicks": []any{p.Entry}}); err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(entry.String()), 0o600); err != nil {
		return err
	}
	target, err := json.Marshal(p.Target)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, `%s: %s. Ctrl-C ends it.
A configuration that leads here is in %s:

%s
Try it in another terminal:

  edition kick test --config %s --driver %s --to '%s'

`, r.kind.What, p.URL, file, entry.String(), file, r.kind.Driver, target)
	return err
}

// lines prints pushes, once what a reader has to know first is printed.
type lines struct {
	out  io.Writer
	end  func()
	last int // pushes until the end; 0: none

	mu   sync.Mutex // guards what follows
	held []string
	live bool
	n    int
}

func newLines(out io.Writer, last int, end func()) *lines {
	return &lines{out: out, last: last, end: end}
}

func (l *lines) open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live = true
	for _, text := range l.held {
		fmt.Fprintln(l.out, text) //nolint:errcheck // nobody is left to be told
	}
}

func (l *lines) push(p peers.Push) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last > 0 && l.n == l.last {
		return
	}
	text := fmt.Sprintf("%s  %s  %s", time.Now().Format("15:04:05.000"), p.To, p.Text)
	if l.live {
		fmt.Fprintln(l.out, text) //nolint:errcheck // the same
	} else {
		l.held = append(l.held, text)
	}
	if l.n++; l.n == l.last {
		l.end()
	}
}
