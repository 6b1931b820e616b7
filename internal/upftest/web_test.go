package upftest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// web is nginx in a host.
type web struct {
	*host
	dir string
}

// serveWeb starts nginx on port 80 of a host. It is one process: no worker outlives it.
func serveWeb(h *host) *web {
	h.t.Helper()
	w := &web{host: h, dir: filepath.Join(runDir, strings.ReplaceAll(h.t.Name(), "/", "-")+"-web")}
	for _, d := range []string{"www/upload", "tmp"} {
		h.check(os.MkdirAll(filepath.Join(w.dir, d), 0o755))
	}
	conf := filepath.Join(w.dir, "nginx.conf")
	h.check(os.WriteFile(conf, fmt.Appendf(nil, `user root;
daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log warn;
events { worker_connections 1024; }
http {
	access_log off;
	default_type application/octet-stream;
	client_max_body_size 0;
	client_body_temp_path %[1]s/tmp/body;
	proxy_temp_path %[1]s/tmp/proxy;
	fastcgi_temp_path %[1]s/tmp/fastcgi;
	uwsgi_temp_path %[1]s/tmp/uwsgi;
	scgi_temp_path %[1]s/tmp/scgi;
	server {
		listen 80 default_server;
		listen [::]:80 default_server ipv6only=on;
		root %[1]s/www;
		location = / { return 200 "here\n"; }
		location = /whoami { return 200 "$remote_addr"; }
		location /upload/ { dav_methods PUT; }
	}
}
`, w.dir), 0o644))
	p := h.start(filepath.Join(w.dir, "nginx.log"), "nginx", "-e", filepath.Join(w.dir, "error.log"), "-p", w.dir, "-c", conf)
	client := h.http()
	await(h.t, "answer of nginx", 2*eventTime, func() bool {
		select {
		case <-p.ended:
			h.t.Fatalf("nginx has ended: %v", p.err)
		default:
		}
		r, err := client.Get("http://127.0.0.1/")
		return err == nil && closeBody(r) == nil
	})
	return w
}

// file makes a file of random bytes that nginx serves.
func (w *web) file(size int) []byte {
	w.t.Helper()
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(b)
	w.check(os.WriteFile(filepath.Join(w.dir, "www", fmt.Sprint(size)), b, 0o644))
	return b
}

func url(server netip.Addr, path string) string {
	return "http://" + net.JoinHostPort(server.String(), "80") + "/" + path
}

// transfer moves a file of so many bytes from the server to the host and another to it,
// and compares what arrived.
func (w *web) transfer(from *host, server netip.Addr, size int) {
	w.t.Helper()
	b := w.file(size)
	client := from.http()
	r, err := client.Get(url(server, fmt.Sprint(size)))
	from.check(err)
	got, err := io.ReadAll(r.Body)
	from.check(err)
	from.check(r.Body.Close())
	if sha256.Sum256(got) != sha256.Sum256(b) {
		w.t.Fatalf("%s: %d bytes arrived, %d others were sent", from.name, len(got), size)
	}
	req, err := http.NewRequest(http.MethodPut, url(server, "upload/x"), bytes.NewReader(b))
	from.check(err)
	r, err = client.Do(req)
	from.check(err)
	from.check(closeBody(r))
	got, err = os.ReadFile(filepath.Join(w.dir, "www", "upload", "x"))
	from.check(err)
	if sha256.Sum256(got) != sha256.Sum256(b) {
		w.t.Fatalf("%s: %d bytes arrived at the server, %d others were sent", from.name, len(got), size)
	}
}

// whoAmI is the address that the server sees.
func whoAmI(from *host, server netip.Addr) netip.Addr {
	from.t.Helper()
	r, err := from.http().Get(url(server, "whoami"))
	from.check(err)
	b, err := io.ReadAll(r.Body)
	from.check(err)
	from.check(r.Body.Close())
	a, err := netip.ParseAddr(string(b))
	from.check(err)
	return a
}
