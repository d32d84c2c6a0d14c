package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/client"
)

// deviceFlags are what register and listen have in common: who the device is
// and the way to its server.
type deviceFlags struct {
	url, state, app string
	mode, proxy, ca string
	wait, interval  time.Duration
	verbose         bool
	udp, kick       string // of a device that sleeps
	stderr          io.Writer
}

func addDeviceFlags(cmd *cobra.Command) *deviceFlags {
	f := &deviceFlags{stderr: cmd.ErrOrStderr()}
	s := cmd.Flags()
	s.StringVar(&f.url, "url", "http://127.0.0.1:8080", "`URL` of the server or relay")
	s.StringVar(&f.state, "state", "edition-device.json", "`file` that remembers the device, made when absent; it holds a secret")
	s.StringVar(&f.app, "app", "app", "`name` of the app on the device")
	s.StringVar(&f.mode, "mode", client.ModeAuto, "`mode` of the connection: auto, websocket or poll")
	s.DurationVar(&f.wait, "wait", client.DefaultWait, "how long the server may hold a poll; 0 polls at intervals")
	s.DurationVar(&f.interval, "interval", 0, "pause after a poll that brought nothing")
	s.StringVar(&f.proxy, "proxy", "", "`URL` of a proxy (http, https, socks5), or direct; else the environment says")
	s.StringVar(&f.ca, "ca-file", "", "PEM `file` of who signed the server's certificate")
	s.BoolVarP(&f.verbose, "verbose", "v", false, "log more of what the connection does, to standard error")
	return f
}

// open opens the device. Its state file is made when there is none.
func (f *deviceFlags) open() (*client.Device, error) {
	level := slog.LevelInfo
	if f.verbose {
		level = slog.LevelDebug
	}
	cfg := client.DeviceConfig{
		Config: client.Config{
			URL: f.url, Mode: f.mode, Wait: f.wait, Interval: f.interval, Proxy: f.proxy,
			Log: slog.New(slog.NewTextHandler(f.stderr, &slog.HandlerOptions{Level: level})),
		},
		State: f.state,
		UDP:   f.udp,
	}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, fmt.Errorf("%w: --ca-file: %w", edition.ErrConfig, err)
		}
		cfg.TLS = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		if !cfg.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: --ca-file: %s holds no PEM certificate", edition.ErrConfig, f.ca)
		}
	}
	if f.kick != "" {
		if err := json.Unmarshal([]byte(f.kick), &cfg.Route); err != nil {
			return nil, fmt.Errorf(`%w: --kick is not a JSON object such as {"netid":"lab"}: %w`, edition.ErrUsage, err)
		}
	}
	return client.OpenDevice(cfg)
}

func registerCommand() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "register",
		Short: "Register an app on a device and print its endpoint",
		Long: `Registers an app of this device at a server or relay and prints the app's
endpoint. The device is remembered in the state file: the same command prints
the same endpoint again.

Versions that are sent to the endpoint wait for "edition listen" with the same
state file.`,
		Example: `  edition register --url http://127.0.0.1:8080 --state phone.json --app mail
  edition put "$(edition register --state phone.json --app mail)" 1`,
		Args: cobra.NoArgs,
	}
	f := addDeviceFlags(cmd)
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to try")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		d, err := f.open()
		if err != nil {
			return err
		}
		if err := d.Register(client.App{Name: f.app}); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, fmt.Errorf("gave up after %v", timeout))
		defer cancel()
		if err := d.Enrol(ctx); err != nil {
			return fmt.Errorf("not registered at %s: %w", f.url, err)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), d.Endpoint(f.app))
		return err
	}
	return cmd
}
