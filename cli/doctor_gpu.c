/* SPDX-License-Identifier: MIT */
/* Display devices on the PCI bus, their links and drivers, without any GPU library. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/doctor_parts.h"
#include "cli/json_put.h"
#include "cli/machine.h"

#define PCI_DEVICES "/sys/bus/pci/devices"
#define PCI_CLASS_DISPLAY 0x03u

static const char *vendor_name(unsigned vendor)
{
	switch (vendor) {
	case 0x10de:
		return "NVIDIA";
	case 0x1002:
		return "AMD";
	case 0x8086:
		return "Intel";
	default:
		return "other";
	}
}

static unsigned pci_number(const char *device, const char *file)
{
	char path[PATH_MAX], text[64];
	snprintf(path, sizeof path, PCI_DEVICES "/%.64s/%s", device, file);
	return (unsigned)strtoul(machine_read_line(path, text, sizeof text), NULL, 0);
}

static void add_line(json_t *gpu, const char *name, const char *device, const char *file)
{
	char path[PATH_MAX], text[128];
	snprintf(path, sizeof path, PCI_DEVICES "/%.64s/%s", device, file);
	machine_read_line(path, text, sizeof text);
	json_put(gpu, name, *text ? json_string(text) : json_null());
}

static void add_nvidia(json_t *gpu, const char *device)
{
	char path[PATH_MAX], text[128];
	snprintf(path, sizeof path, "/proc/driver/nvidia/gpus/%.64s/information", device);
	if (machine_read_key(path, "Model", text, sizeof text))
		json_put(gpu, "name", json_string(text));
}

/* The kernel module that drives the device: the last part of a link. */
static void add_driver(json_t *gpu, const char *device)
{
	char path[PATH_MAX], target[PATH_MAX];
	ssize_t length;
	const char *name = NULL;
	snprintf(path, sizeof path, PCI_DEVICES "/%.64s/driver", device);
	length = readlink(path, target, sizeof target - 1);
	if (length > 0) {
		target[length] = '\0';
		name = strrchr(target, '/');
	}
	json_put(gpu, "kernel_driver", name ? json_string(name + 1) : json_null());
}

static json_t *describe(const char *device)
{
	char id[32];
	unsigned vendor = pci_number(device, "vendor");
	json_t *gpu = json_object();
	snprintf(id, sizeof id, "%04x:%04x", vendor, pci_number(device, "device"));
	json_put(gpu, "pci", json_string(device));
	json_put(gpu, "vendor", json_string(vendor_name(vendor)));
	json_put(gpu, "name", json_null());
	json_put(gpu, "id", json_string(id));
	add_nvidia(gpu, device);
	add_driver(gpu, device);
	add_line(gpu, "link_speed", device, "current_link_speed");
	add_line(gpu, "link_width", device, "current_link_width");
	add_line(gpu, "link_speed_max", device, "max_link_speed");
	add_line(gpu, "link_width_max", device, "max_link_width");
	add_line(gpu, "numa_node", device, "numa_node");
	return gpu;
}

static json_t *devices(void)
{
	json_t *list = json_array();
	struct dirent *entry;
	DIR *folder = opendir(PCI_DEVICES);
	while (folder && (entry = readdir(folder)))
		if (entry->d_name[0] != '.' &&
		    pci_number(entry->d_name, "class") >> 16 == PCI_CLASS_DISPLAY)
			json_add(list, describe(entry->d_name));
	if (folder)
		closedir(folder);
	return list;
}

json_t *doctor_gpus(void)
{
	char text[256];
	json_t *found = json_object();
	json_put(found, "devices", devices());
	machine_read_line("/proc/driver/nvidia/version", text, sizeof text);
	json_put(found, "nvidia_driver", *text ? json_string(text) : json_null());
	return found;
}
