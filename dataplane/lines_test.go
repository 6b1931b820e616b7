package dataplane

import (
	"testing"
	"unsafe"

	"github.com/braid-upf/braid/dataplane/driver/memory"
)

// TestLines: what a packet needs of an ordinary session stands on lines of the caches of
// its own, and in the session's bundle.
func TestLines(t *testing.T) {
	plane, err := New(Config{Set: memory.New(1, upf4), Buffers: 8, Keys: 1})
	if err != nil {
		t.Fatal(err)
	}
	rs, err := plane.compile(freeRules(1))
	if err != nil {
		t.Fatal(err)
	}
	k := rs.bundle()
	up, down := &rs.tunnels[0].up.pdrs[0], &rs.downlink.pdrs[0]
	for name, part := range map[string]struct {
		at   unsafe.Pointer
		size uintptr
	}{
		"head of the rule set": {unsafe.Pointer(rs), unsafe.Offsetof(rs.downlink) + unsafe.Sizeof(rs.downlink)},
		"tunnel":               {unsafe.Pointer(&rs.tunnels[0]), unsafe.Sizeof(tunnel{})},
		"uplink PDR":           {unsafe.Pointer(up), unsafe.Sizeof(pdr{})},
		"downlink PDR":         {unsafe.Pointer(down), unsafe.Sizeof(pdr{})},
		"uplink FAR":           {unsafe.Pointer(up.far), unsafe.Sizeof(far{})},
		"downlink FAR":         {unsafe.Pointer(down.far), unsafe.Sizeof(far{})},
		"uplink QER":           {unsafe.Pointer(up.qer), unsafe.Sizeof(qer{})},
		"downlink QER":         {unsafe.Pointer(down.qer), unsafe.Sizeof(qer{})},
		"first meter":          {unsafe.Pointer(up.meters[0]), unsafe.Sizeof(meter{})},
		"second meter":         {unsafe.Pointer(up.meters[1]), unsafe.Sizeof(meter{})},
	} {
		first, last := uintptr(part.at)/lineLen, (uintptr(part.at)+part.size-1)/lineLen
		if first != last {
			t.Errorf("%s: %d octets at %#x span lines", name, part.size, uintptr(part.at))
		}
		if begin := uintptr(unsafe.Pointer(k)); uintptr(part.at) < begin || uintptr(part.at) >= begin+unsafe.Sizeof(*k) {
			t.Errorf("%s is not in the bundle", name)
		}
	}
	if up.more != nil || down.more != nil {
		t.Errorf("PDRs of an ordinary session have more: %+v, %+v", up.more, down.more)
	}
}
