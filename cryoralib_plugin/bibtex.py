# SPDX-License-Identifier: GPL-3.0-or-later
"""
@article{Chung2020,
  title = {Cryo-RALib - a modular library for accelerating alignment in cryo-EM},
  author = {Chung, Szu-Chi and Hung, Cheng-Yu and Siao, Huei-Lun and Wu, Hung-Yi and Chang, Wei-Hau and Tu, I-Ping},
  year = {2020},
  journal = {arXiv},
  eprint = {2011.05755},
  doi = {https://doi.org/10.48550/arXiv.2011.05755}
}

@article{delaRosaTrevin2016,
  title = {Scipion: A software framework toward integration, reproducibility and validation in 3D electron microscopy},
  author = {de la Rosa-Trev{\\'i}n, J. M. and Quintana, A. and del Cano, L. and Zald{\\'i}var, A. and Foche, I. and Guti{\\'e}rrez, J. and G{\\'o}mez-Blanco, J. and Burguet-Castell, J. and Cuenca-Alba, J. and Abrishami, V. and Vargas, J. and Ot{\\'o}n, J. and Sharov, G. and Vilas, J. L. and Navas, J. and Conesa, P. and Kazemi, M. and Marabini, R. and Sorzano, C. O. S. and Carazo, J. M.},
  journal = {Journal of Structural Biology},
  volume = {195},
  number = {1},
  pages = {93--99},
  year = {2016},
  doi = {https://doi.org/10.1016/j.jsb.2016.04.010}
}

@article{Hu2018,
  title = {A particle-filter framework for robust cryo-EM 3D reconstruction},
  author = {Hu, Mingxu and Yu, Hongkun and Gu, Kai and Wang, Zhao and Ruan, Huabin and Wang, Kunpeng and Ren, Siyuan and Li, Bing and Gan, Lin and Xu, Shizhen and Yang, Guangwen and Shen, Yuan and Li, Xueming},
  journal = {Nature Methods},
  volume = {15},
  number = {12},
  pages = {1083--1089},
  year = {2018},
  doi = {https://doi.org/10.1038/s41592-018-0223-8}
}

@misc{Qiao2019,
  title = {Large-scale Parallel Design for Cryo-EM Structure Determination on Heterogeneous Many-core Architectures},
  author = {Qiao, Liang and Yu, Hongkun and Wang, Kunpeng and Sun, Ruixin and Zhao, Wenlai and Fu, Haohuan and Yang, Guangwen},
  publisher = {IEEE},
  year = {2019},
  isbn = {978-1-7281-1867-3}
}

@article{Hohn2007,
  title = {SPARX, a new environment for Cryo-EM image processing},
  author = {Hohn, Michael and Tang, Grant and Goodyear, Grant and Baldwin, P. R. and Huang, Zhong and Penczek, Pawel A. and Yang, Chao and Glaeser, Robert M. and Adams, Paul D. and Ludtke, Steven J.},
  journal = {Journal of Structural Biology},
  volume = {157},
  number = {1},
  pages = {47--55},
  year = {2007},
  doi = {https://doi.org/10.1016/j.jsb.2006.07.003}
}
"""
