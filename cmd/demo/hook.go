package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/edition-push/edition"
)

// The program that driver exec runs in the demo is the demo's own: it hands what
// it reads to the process that shows it.
const (
	hookKey  = "exec"
	hookTime = time.Minute
	maxHook  = 4 << 10 // bytes
)

// openHook listens for the program and returns the entry that runs it.
func (s *kickStage) openHook() (map[string]any, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", edition.ErrListen, err)
	}
	server := &http.Server{ReadHeaderTimeout: hookTime, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(io.LimitReader(r.Body, maxHook))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.woken(hookKey, "the program reads "+string(bytes.TrimSpace(text)))
	})}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	s.ends = append(s.ends, func() error {
		err := server.Close()
		if serr := <-ended; !errors.Is(serr, http.ErrServerClosed) {
			err = errors.Join(err, serr)
		}
		return err
	})
	return map[string]any{
		"driver": "exec", "program": program, "args": []any{"demo", "hook", "http://" + l.Addr().String()}, "grace": kickGrace,
	}, nil
}

// hookCommand is what driver exec runs.
func hookCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "hook URL",
		Short:  "Hand standard input to the demo (run by its driver exec)",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), hookTime)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, args[0], io.LimitReader(cmd.InOrStdin(), maxHook))
			if err != nil {
				return err
			}
			resp, err := plain.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("the demo answers %s", resp.Status)
			}
			return nil
		},
	}
}
