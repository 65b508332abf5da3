/* SPDX-License-Identifier: MIT */
/* A runtime in C++ with its own kernels: leases experts of an installed UFM and looks at their bytes. */
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <ufm/ufm.h>
#include <vector>

static void must(ufm_status status)
{
	if (status != UFM_OK)
		throw std::runtime_error(std::string(ufm_strerror(status)) + ": " + ufm_last_error());
}

template <typename T> using owned = std::unique_ptr<T, void (*)(T *)>;

static owned<ufm_bank> open_bank(uint32_t experts)
{
	ufm_bank_synthetic_config config;
	ufm_expert_desc desc;
	ufm_bank *bank;
	UFM_STRUCT_INIT(&desc);
	UFM_STRUCT_INIT(&config);
	config.desc = &desc;
	config.experts = experts;
	must(ufm_expert_desc_init(&desc, UFM_EXPERT_GATED, 64, 96, UFM_BF16));
	must(ufm_bank_synthetic(&config, &bank));
	return {bank, ufm_bank_close};
}

static owned<ufm_engine> open_engine(ufm_bank *bank)
{
	ufm_engine_config config;
	ufm_engine *engine;
	ufm_host *host;
	must(ufm_host_open(bank, nullptr, &host));
	UFM_STRUCT_INIT(&config);
	config.vram_target_bytes = 4 << 20;
	config.slots_max = 6;
	must(ufm_engine_open(host, &config, &engine));
	ufm_host_close(host);
	return {engine, ufm_engine_close};
}

static bool same_bytes(ufm_engine *engine, ufm_bank *bank, uint32_t expert)
{
	ufm_bank_info info;
	ufm_lease *lease;
	ufm_stream *stream;
	UFM_STRUCT_INIT(&info);
	must(ufm_bank_get_info(bank, &info));
	std::vector<char> wanted(info.desc->expert_bytes), found(info.desc->expert_bytes);
	must(ufm_bank_read(bank, 0, expert, wanted.data()));
	must(ufm_stream_open(engine, nullptr, &stream));
	must(ufm_acquire_begin(engine, 0, &expert, 1, &lease));
	must(ufm_acquire_ready(lease, stream, UFM_WAIT_FOREVER));
	must(ufm_copy_to_host(engine, stream, found.data(), ufm_lease_view(lease, 0), found.size()));
	must(ufm_stream_sync(engine, stream));
	must(ufm_release(lease, stream));
	ufm_stream_close(engine, stream);
	return found == wanted;
}

int main()
{
	constexpr uint32_t experts = 16;
	auto bank = open_bank(experts);
	auto engine = open_engine(bank.get());
	for (uint32_t expert = 0; expert < experts; expert++)
		if (!same_bytes(engine.get(), bank.get(), expert)) {
			std::printf("expert %u differs\n", expert);
			return 1;
		}
	std::printf("ufm %s: %u experts leased\n", ufm_version(), experts);
	return 0;
}
