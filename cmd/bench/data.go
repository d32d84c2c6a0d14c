package bench

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/publish"
	"github.com/edition-push/edition/store/bolt"
	"github.com/edition-push/edition/wire"
)

// registration says what a data file knows of its i-th registration; version 0
// is nothing pending.
type registration func(i int) (edition.Agent, edition.Key, edition.Version)

// makeServer makes the data folder of a server with n registrations.
func (r *run) makeServer(ctx context.Context, dir string, n int, at registration) error {
	if err := r.makeData(ctx, configs.RoleServer, dir, n, at); err != nil {
		return err
	}
	_, err := pathsOf(dir) // makes the keys
	return err
}

// pathsOf returns what makes the paths of a server's endpoints.
func pathsOf(dir string) (path func(edition.Key) []byte, err error) {
	cfg := configs.DefaultServer()
	cfg.Data = dir
	keys, err := publish.LoadKeyring(cfg.KeyringFile())
	if err != nil {
		return nil, err
	}
	return func(k edition.Key) []byte { return []byte(wire.PathEndpoint + keys.Seal(k)) }, nil
}

func (r *run) makeData(ctx context.Context, role, dir string, n int, at registration) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ph := r.progress.begin(fmt.Sprintf("edition: make a data file with %s keys", count(n)), n)
	defer ph.finish("")
	file := configs.Node{Data: dir}.DataFile(role)
	err := bolt.Bulk(file, n, func(i int) (edition.Agent, edition.Key, edition.Version) {
		ph.add(1)
		return at(i)
	})
	return errors.Join(err, context.Cause(ctx))
}

// devicesOf registers device i with its secret, and nothing pending.
func devicesOf(space keySpace) registration {
	return func(i int) (edition.Agent, edition.Key, edition.Version) {
		k := space.at(i)
		proof, err := edition.ProofOf(secret(i))
		if err != nil {
			panic(err) // secret makes no others
		}
		return edition.Agent{UAID: k.UAID, Proof: proof}, k, 0
	}
}

// secret is the secret of device i, in its wire form.
func secret(i int) string {
	var raw [edition.SecretSize]byte
	for at := 0; at < len(raw); at += 8 {
		word := mix(uint64(i)<<8 + uint64(at))
		for b := range 8 {
			raw[at+b] = byte(word >> (8 * b))
		}
	}
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// The relay of a benchmark, as its upstream knows it.
const (
	relayName  = "bench"
	relayToken = "a-token-of-no-other-use"

	firstOwner   edition.Owner = 1          // the number of the first relay in a store
	upstreamName               = "upstream" // what a relay calls the one in --upstream
)

// makeUpstream makes the data folder of a server with n devices behind one
// relay, each with something pending, and returns the relay's token file.
func (r *run) makeUpstream(ctx context.Context, dir string, n int) (tokenFile string, err error) {
	space := keySpace(n)
	err = r.makeData(ctx, configs.RoleServer, dir, n, func(i int) (edition.Agent, edition.Key, edition.Version) {
		return edition.Agent{UAID: space.at(i).UAID, Owner: firstOwner}, space.at(i), 1
	})
	if err != nil {
		return "", err
	}
	if err := nameRelay(ctx, configs.Node{Data: dir}.DataFile(configs.RoleServer)); err != nil {
		return "", err
	}
	tokenFile = filepath.Join(dir, "bench.token")
	return tokenFile, os.WriteFile(tokenFile, []byte(relayToken), 0o600)
}

// nameRelay gives the first relay's number its name.
func nameRelay(ctx context.Context, file string) error {
	s, err := bolt.Open(bolt.Options{Path: file})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	owner, err := s.Relay(ctx, relayName, "")
	cancel()
	err = errors.Join(err, <-ended, s.Close())
	if err == nil && owner != firstOwner {
		err = fmt.Errorf("the first relay's number is %d, not %d", owner, firstOwner)
	}
	return err
}

// makeRelay makes the data folder of the relay, which knows the same devices
// and has nothing pending.
func (r *run) makeRelay(ctx context.Context, dir string, n int) error {
	space := keySpace(n)
	return r.makeData(ctx, configs.RoleRelay, dir, n, func(i int) (edition.Agent, edition.Key, edition.Version) {
		return edition.Agent{UAID: space.at(i).UAID, Upstream: upstreamName}, space.at(i), 0
	})
}
