package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Configs as free5GC's releases ship them, key by key (config/upfcfg.yaml, and
// config/multiUPF of its repository; free5gc-compose's names hosts): the values are ours.
var shipped = []struct{ name, text string }{
	{"v3.3", `version: 1.0.3
description: one network
pfcp:
  addr: 127.0.0.8   # where N4 is
  nodeID: 127.0.0.8
  retransTimeout: 1s
  maxRetrans: 3
gtpu:
  forwarder: gtp5g
  ifList:
    - addr: 127.0.0.8
      type: N3
      # name: upf.example
      # ifname: gtpif
      # mtu: 1400
dnnList:
  - dnn: internet
    cidr: 10.60.0.0/24
    # natifname: eth0
logger:
  enable: true
  level: info
  reportCaller: false
`},
	{"v3.4 and v4.0 to v4.2, two ranges of one network", `version: 1.0.3
description: two ranges
pfcp:
  addr: 127.0.0.8
  nodeID: 127.0.0.8
  retransTimeout: 1s
  maxRetrans: 3
gtpu:
  forwarder: gtp5g
  ifList:
    - addr: 127.0.0.8
      type: N3
dnnList:
  - dnn: internet
    cidr: 10.60.0.0/16
  - dnn: internet
    cidr: 10.61.0.0/16
logger: # with a remark
  enable: true
  level: info
  reportCaller: false
`},
	{"every key, N3 and N9, hosts by name", `version: 1.0.3
description: all
pfcp: {addr: localhost, nodeID: localhost, retransTimeout: 500ms, maxRetrans: 3}
gtpu:
  forwarder: gtp5g
  ifList:
    - {addr: localhost, type: N3, name: upf.example, ifname: gtpif, mtu: 1400}
    - {addr: 127.0.0.9, type: N9, name: "", ifname: ""}
dnnList:
  - {dnn: internet, cidr: 10.60.0.1/16, natifname: lo}
logger: {enable: true, level: debug, reportCaller: true}
`},
	{"keys of a release to come", `version: 1.0.9
pfcp: {addr: 127.0.0.8, nodeID: 127.0.0.8, retransTimeout: 1s, maxRetrans: 3, sourcePort: any}
gtpu: {forwarder: gtp5g, ifList: [{addr: 127.0.0.8, type: N3, dscp: 46}], offload: true}
dnnList: [{dnn: internet, cidr: 10.60.0.0/16, priority: 1}]
logger: {enable: true, level: trace, reportCaller: false, format: text}
metrics: {enable: true, port: 9091}
`},
}

// TestDropIn: the daemon takes the command line of free5GC's UPF, and its configs, and
// says so when it is ready in every file of -l.
func TestDropIn(t *testing.T) {
	for _, c := range shipped {
		t.Run(c.name, func(t *testing.T) {
			inNamespace(t)
			file := writeConfig(t, c.text)
			logs := []string{filepath.Join(t.TempDir(), "upf.log"), filepath.Join(t.TempDir(), "log", "free5gc.log")}
			out := &lines{more: make(chan struct{}, 1)}
			cmd := daemon(t.Context(), "-c", file, "-l", logs[0], "-l", logs[1])
			cmd.Stderr = out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if cmd.ProcessState == nil {
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
				}
			})
			out.await(t, `\[INFO\]\[UPF\]\[Main\] UPF started`)
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("after SIGTERM: %v", err)
			}
			for _, name := range logs {
				b, err := os.ReadFile(name)
				if err != nil || !bytes.Contains(b, []byte("[INFO][UPF][Main] UPF started")) {
					t.Errorf("%s: %q, %v", name, b, err)
				}
			}
		})
	}
}

// TestDefaultConfig: without -c it is ./config/upfcfg.yaml.
func TestDefaultConfig(t *testing.T) {
	dir := t.TempDir()
	cmd := daemon(t.Context())
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "config/upfcfg.yaml") {
		t.Errorf("%v: %s", err, out)
	}
}
