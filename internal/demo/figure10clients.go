package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/mptcpclient"
)

// figureClients are the connections of a run.
type figureClients struct {
	wg    sync.WaitGroup
	first sync.WaitGroup // of each connection's first byte, or its end
	stop  chan struct{}  // closed when no more files are to be downloaded
	mu    sync.Mutex
	files int
	errs  []error
}

// start opens the connections; they download until they are to end, or ctx does.
func (c Figure10) start(ctx context.Context, l *lab.Lab, body []byte) *figureClients {
	all := &figureClients{stop: make(chan struct{})}
	client := mptcpclient.Client{In: func(fn func() error) error { return l.InNamespace(lab.UE, fn) }}
	for range c.Connections {
		all.first.Add(1)
		all.wg.Go(func() {
			begun := sync.OnceFunc(all.first.Done)
			defer begun()
			files, err := download(ctx, all.stop, &client, body, begun)
			all.mu.Lock()
			defer all.mu.Unlock()
			all.files += files
			if err != nil {
				all.errs = append(all.errs, err)
			}
		})
	}
	return all
}

// download gets the file over one connection, again and again, and compares it.
func download(ctx context.Context, stop <-chan struct{}, client *mptcpclient.Client, body []byte, begun func()) (files int, err error) {
	var dialed int
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			if dialed++; dialed > 1 {
				return nil, errors.New("the connection has ended")
			}
			return client.Dial(ctx, addr)
		},
		DisableCompression: true, ReadBufferSize: 64 << 10,
	}
	defer transport.CloseIdleConnections()
	b := make([]byte, 64<<10)
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+lab.DNAddr.String()+"/figure10.bin", http.NoBody)
		if err != nil {
			return files, err
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return files, err
		}
		begun()
		err = compare(resp.Body, body, b)
		resp.Body.Close()
		if err != nil {
			return files, fmt.Errorf("file %d of a connection: %w", files, err)
		}
		files++
		select {
		case <-stop:
			return files, nil
		default:
		}
	}
}

// compare reads src to its end, by way of b, and compares it with want.
func compare(src io.Reader, want, b []byte) error {
	at := 0
	for {
		n, err := src.Read(b)
		if at+n > len(want) || !bytes.Equal(b[:n], want[at:at+n]) {
			return fmt.Errorf("the bytes from %d to %d are not those that were sent", at, at+n)
		}
		at += n
		switch {
		case err == io.EOF && at == len(want):
			return nil
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
}

// connected waits until every connection has got something.
func (f *figureClients) connected() error {
	f.first.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.errs...)
}

// end waits for the files under way and gives the connections' errors.
func (f *figureClients) end() error {
	close(f.stop)
	f.wg.Wait()
	return errors.Join(f.errs...)
}
