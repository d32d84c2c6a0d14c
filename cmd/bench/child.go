package bench

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/cmd/bench/internal/bare"
	"github.com/edition-push/edition/cmd/bench/internal/child"
	"github.com/edition-push/edition/cmd/relay"
	"github.com/edition-push/edition/cmd/server"
)

// childCommand is what this binary runs as when it is a server that is being
// measured. It is for startRole and startBare only.
func childCommand() *cobra.Command {
	c := &cobra.Command{Use: "child", Hidden: true}
	c.AddCommand(
		childRole(server.Command()),
		childRole(relay.Command()),
		childOf("bare-push", 0, func(ctx context.Context, c *child.Control, _ []string) error {
			return listen(c, func(l net.Listener) error { return bare.Push(ctx, l) })
		}),
		childOf("bare-keep FILE", 1, func(ctx context.Context, c *child.Control, args []string) error {
			return listen(c, func(l net.Listener) error { return bare.Keep(ctx, l, args[0]) })
		}),
		childOf("bare-write FILE N", 2, writeKeys),
		childOf("kicks N", 1, kickRounds),
		childOf("apns-sim DIR", 1, apnsSim),
		childOf("pushes ADDR DIR N", 3, pushRounds),
		childOf("restart FILE N ROOM", 3, restartOnce),
		childOf("load SIDE ADDR DEVICES PUBLISHERS DIR", 5, generate),
	)
	return c
}

// childRole is a role with its own flags, under its parent's control.
func childRole(role *cobra.Command) *cobra.Command {
	run := role.RunE
	role.Hidden = true
	role.RunE = func(cmd *cobra.Command, args []string) error {
		return child.Serve(cmd.Context(), func(ctx context.Context, _ *child.Control) error {
			cmd.SetContext(ctx)
			return run(cmd, args)
		})
	}
	return role
}

func childOf(use string, args int, run func(context.Context, *child.Control, []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Args: cobra.ExactArgs(args), Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return child.Serve(cmd.Context(), func(ctx context.Context, c *child.Control) error { return run(ctx, c, args) })
		},
	}
}

func listen(c *child.Control, serve func(net.Listener) error) error {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback
	if err != nil {
		return err
	}
	c.Announce(l.Addr().String(), nil)
	return serve(l)
}

// writeKeys puts N keys of the key space into a new file when it is told to,
// in transactions of the given size, and answers with the time that took.
func writeKeys(ctx context.Context, c *child.Control, args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("%w: %w", edition.ErrUsage, err)
	}
	c.Announce("ready", func(_ context.Context, batch string) (string, error) {
		size, err := strconv.Atoi(batch)
		if err != nil {
			return "", err
		}
		took, err := bare.Write(args[0], n, size, keySpace(n).at)
		return took.Round(time.Microsecond).String(), err
	})
	<-ctx.Done()
	return nil
}
